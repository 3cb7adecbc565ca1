"""Runs and Run in every shape: what stands on them, empty states, files."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest

from manylabel.eval.store.names import EvaluationName
from manylabel.storage.tables import part_path

MINUS = "−"
BYTES, NODES = 60_000, 2_000


class Page(HTMLParser):
    """Tags and words of a page, with what is not allowed in it."""

    def __init__(self, text):
        super().__init__()
        self.nodes, self.words, self.wrong, self.ids, self.links = 0, [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.nodes += 1
        names = dict(attributes)
        self.wrong += [name for name in names if name == "style" or name.startswith("on")]
        self.wrong += [tag] if tag == "style" or (tag == "script" and "src" not in names) else []
        self.ids += [names["id"]] if "id" in names else []
        self.links += [names[name] for name in ("href", "src") if names.get(name)]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def shown(browser, address):
    answer = browser.get(address)
    assert answer.status_code == 200, answer.text
    page = Page(answer.text)
    assert page.wrong == []
    assert len(set(page.ids)) == len(page.ids)
    assert all(link.startswith(("/", "#")) for link in page.links)
    assert len(answer.content) <= BYTES
    assert page.nodes <= NODES
    return page


def test_runs_are_held_against_the_champion(client, filled):
    text = shown(client(), "/").text
    assert "Champion run-a step 6,000" in text
    assert "run-b" in text
    assert "not comparable: other held-out images" in text
    assert re.search(rf"run-b .*?[+{MINUS}]0\.\d{{4}}", text)
    assert "Best on the tail" in text


def test_a_run_on_other_images_has_no_number(client, filled):
    rows = {row["name"]: row for row in client().get("/runs.json").json()["runs"]}
    assert rows["other-set"]["mark"] is None
    assert rows["run-b"]["mark"]["value"] is not None
    row = next(
        r
        for r in csv.DictReader(io.StringIO(client().get("/runs.csv").text))
        if r["run"] == "other-set"
    )
    assert row["difference"] == ""
    assert row["note"] == "not comparable: other held-out images"


def test_the_candidate_is_the_earliest_that_cannot_be_told_from_the_best(client, filled):
    data = client().get("/runs/run-b.json").json()
    steps = data["evaluations"]["step"]
    assert (
        data["candidate"]
        == f"run-b@{min(s for s, n in zip(steps, steps, strict=True) if s > 0.6 * max(steps))}"
    )


def test_one_switch_changes_every_number_and_stays_in_links(client, filled):
    browser = client()
    by_class, by_image = (
        browser.get(f"/runs.json?form={form}").json() for form in ("class", "image")
    )
    assert by_class["runs"][0]["value"] != by_image["runs"][0]["value"]
    assert browser.get("/runs.json").json()["form"] == "class"  # The newest evaluation's headline.
    page = shown(browser, "/?form=image")
    assert "(image form)" in page.text
    assert "/runs/run-b?form=image" in page.links
    assert "/runs/run-b" in shown(browser, "/?form=class").links  # A default is left out.
    assert "class form" in shown(browser, "/runs/run-b?form=image").text  # It stands beside.


def test_runs_sort_by_their_columns(client, filled):
    browser = client()
    names = [row["name"] for row in browser.get("/runs.json?sort=run").json()["runs"]]
    assert names == sorted(names)
    assert browser.get("/runs.json?sort=-run").json()["runs"][0]["name"] == names[-1]
    assert browser.get("/?sort=colour").status_code == 400


def test_a_promotion_has_its_evidence_and_reason(client, filled):
    filled.promote(
        "run-b", 6_000, "Better <everywhere>", EvaluationName("run-a", 6_000), 0.1, evidence=True
    )
    page = shown(client(), "/")
    assert "run-b step 6,000 replaced run-a step 6,000" in page.text
    assert "+0.0096 +0.0065 to +0.0127 · Better <everywhere>" in page.text
    assert "/review?a=run-b@6000&b=run-a@6000" in page.links
    rows = list(csv.DictReader(io.StringIO(client().get("/promotions.csv").text)))
    assert [row["candidate"] for row in rows] == ["run-b@6000", "run-a@6000"]


def test_differences_from_an_earlier_champion_are_not_shown_as_today_s(client, filled):
    filled.promote("run-b", 6_000, "New", EvaluationName("run-a", 6_000), 0.1, evidence=True)
    rows = {row["name"]: row for row in client().get("/runs.json").json()["runs"]}
    assert rows["run-b"]["mark"] is None
    assert rows["run-b"]["why"] == "not compared with today's champion yet"
    page = shown(client(), "/runs/run-b")
    assert f"manylabel evaluate {filled.root}/run-b --step new" in page.text


@pytest.mark.parametrize("run", ["run-a", "run-b", "other-set"])
@pytest.mark.parametrize("form", ["class", "image"])
def test_a_run_shows_everything_about_itself(client, filled, run, form):
    page = shown(client(), f"/runs/{run}?form={form}")
    for word in (
        "Candidate",
        "Evaluations",
        "Training",
        "Staleness",
        "Dataset",
        "Where it comes from",
    ):
        assert word in page.text
    assert ("Difference from the champion" in page.text) is True


def test_all_files_of_a_run_can_be_had(client, filled):
    browser = client()
    page = shown(browser, "/runs/run-b")
    files = {link for link in page.links if link.startswith("/runs/run-b/")}
    assert {
        "/runs/run-b/difference.svg",
        "/runs/run-b/map.svg",
        "/runs/run-b/evaluations.csv",
    } <= files
    assert len(files) > 12
    for link in files:
        answer = browser.get(link)
        assert answer.status_code == 200, link
        if link.endswith(".svg"):
            assert ElementTree.fromstring(answer.content).tag.endswith("svg")
            assert "sha256-" in answer.headers["content-security-policy"]
    table = browser.get("/runs/run-b/evaluations.json").json()
    assert table["rows"] == 12
    assert browser.get("/runs/run-b/nothing.svg").status_code == 404
    assert "map.svg" in browser.get("/runs/run-b/nothing.svg").text


def test_links_of_a_page_lead_somewhere(client, filled):
    browser = client()
    seen = set()
    for address in ("/", "/runs/run-a", "/runs/run-b?form=image"):
        seen |= {
            link for link in shown(browser, address).links if not link.startswith(("#", "/review"))
        }
    assert len(seen) > 30
    broken = [link for link in seen if browser.get(link).status_code != 200]
    assert broken == []


def test_json_holds_no_nan(client, filled):
    constants: list[str] = []
    for address in ("/runs.json", "/runs/run-b.json", "/runs/other-set/evaluations.json"):
        json.loads(client().get(address).text, parse_constant=constants.append)
    assert constants == []


def test_an_empty_folder_tells_how_to_fill_it(client, folder):
    page = shown(client(), "/")
    assert f"manylabel train CONFIG --dataset DATASET --run {folder.root}/first" in page.text
    assert "No schedules" in page.text
    assert "No promotion yet" in page.text


def test_runs_without_evaluations_tell_the_command(client, folder):
    folder.add_run("new", 0)
    command = f"manylabel evaluate {folder.root}/new --step new"
    assert command in shown(client(), "/").text
    page = shown(client(), "/runs/new")
    assert command in page.text
    assert "Training" in page.text


def test_one_row_of_metrics_is_not_told_to_be_none(client, folder):
    folder.add_run("short", 5)
    path = folder.root / "short" / "metrics.jsonl"
    first, *_ = path.read_text().splitlines(keepends=True)
    path.write_text(first)
    page = shown(client(), "/runs/short")
    assert "One row of metrics, too few for a curve." in page.text
    assert "No metrics yet" not in page.text


def test_without_a_champion_nothing_is_better(client, folder):
    folder.make_dataset()
    folder.add_run("only", 5)
    page = shown(client(), "/")
    assert f"manylabel promote {folder.root}/only --step" in page.text
    assert "difference" not in page.text.split("Promotions")[0].split("csv")[-1]
    assert "No champion yet" in shown(client(), "/runs/only").text


def test_other_settings_are_one_click_away(client, filled):
    here = filled.root / "run-a" / "history"
    (here / "uniform-aaaaaaaaaaaa").mkdir()
    table = here / "training_share-0123456789ab" / "evaluations.parquet"
    (here / "uniform-aaaaaaaaaaaa" / "evaluations.parquet").write_bytes(table.read_bytes())
    page = shown(client(), "/runs/run-a")
    assert "/runs/run-a?settings=uniform-aaaaaaaaaaaa" in page.links
    front = shown(client(), "/?settings=uniform-aaaaaaaaaaaa")
    assert "Settings uniform-aaaaaaaaaaaa" in front.text
    assert "/?settings=training_share-0123456789ab" in front.links
    data = client().get("/runs/run-a.json?settings=uniform-aaaaaaaaaaaa").json()
    assert data["settings"] == "uniform-aaaaaaaaaaaa"
    assert client().get("/runs.json?settings=nothing").json()["runs"][0]["value"] is None


def test_rejected_images_are_counted_over_the_parts_of_a_large_table(client, filled):
    """And again when one part is another file."""
    whole = filled.root.parent / "dataset" / "rejected.parquet"
    table = pq.read_table(whole)
    whole.unlink()
    for number, rows in enumerate((table, table.slice(0, 3))):
        part = part_path(whole, number)
        part.parent.mkdir(exist_ok=True)
        pq.write_table(rows, part)
    browser = client()
    counted = [("unreadable", 6), ("label: unknown", 5)]
    assert list(browser.get("/runs/run-a.json").json()["dataset"]["rejected"].items()) == counted
    pq.write_table(table.slice(0, 2), part)
    data = browser.get("/runs/run-a.json").json()
    assert data["dataset"]["rejected"] == {"unreadable": 5, "label: unknown": 5}
    assert data["problems"] == []


def test_rejected_images_of_a_held_out_catalog_are_counted_with_the_others(client, filled):
    root = filled.root.parent / "dataset"
    table = pq.read_table(root / "rejected.parquet")
    pq.write_table(table.slice(0, 4), root / "heldout_rejected.parquet")
    data = client().get("/runs/run-a.json").json()
    assert data["dataset"]["rejected"] == {"unreadable": 6, "label: unknown": 6}


@pytest.mark.parametrize("address", ["/?form=blue", "/runs/run-a?form=", "/runs/run-a?sort=%00"])
def test_an_address_without_sense_is_told(client, filled, address):
    assert client().get(address).status_code in (200, 400)
    assert client().get("/?form=blue").status_code == 400


def test_schedules_tell_what_they_did_and_are_due(client, filled):
    (filled.root / "schedules.yaml").write_text(
        "schedules:\n"
        '  nightly: {when: "0 2 * * *", timezone: Europe/Paris}\n'
        "  each: {when: new_checkpoint}\n"
    )
    text = shown(client(), "/").text
    assert "nightly 0 2 * * * Europe/Paris has not fired yet" in text
    assert "in 13 h" in text
    assert "each each new checkpoint" in text
    data = client().get("/runs.json").json()
    assert [each["name"] for each in data["schedules"]] == ["each", "nightly"]
    assert data["schedules"][1]["due"] == "2026-03-03T01:00:00Z"
