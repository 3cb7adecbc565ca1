"""The Review page: its sentence, its parts, its table, and what it says of what is missing."""

import csv
import html
import io
import json
import re
from datetime import timedelta

import numpy as np
import pytest

from manylabel.deploy.dashboard.pages.review_told import charts_of, told, verdict_of
from manylabel.eval.config import MetricForm
from manylabel.eval.review.store import read_review, read_review_labels
from manylabel.eval.statistics.differences import Difference, Verdict
from manylabel.eval.store.names import EvaluationName

MINUS = "\N{MINUS SIGN}"
ADDRESS = "/review?a=new@200&b=old@100"


def text_of(page: str) -> str:
    """What a reader sees, in one line."""
    shown = re.sub(r"<(style|title|desc)[ >].*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", shown)).split())


def form_review(reviewed, verdict, value, low, high, form=MetricForm.CLASS):
    result = read_review(reviewed.review).forms[form]
    difference = Difference(value, None, low, high, 0.5)
    return result.model_copy(update={"difference": difference, "verdict": verdict})


@pytest.mark.parametrize(
    ("verdict", "low", "high", "sentence"),
    [
        (Verdict.BETTER, 0.0065, 0.0127, "Better by +0.0096"),
        (Verdict.EQUAL, -0.0011, 0.0012, "Equal within 0.02"),
        (Verdict.NOT_SHOWN, -0.001, 0.02, f"Not shown: between {MINUS}0.0010 and +0.0200"),
        (Verdict.NOT_SHOWN, None, None, "Not shown: too few images for an interval"),
    ],
)
def test_a_verdict_is_a_sentence(reviewed, verdict, low, high, sentence):
    assert verdict_of(form_review(reviewed, verdict, 0.0096, low, high), 0.02) == sentence


def test_a_loss_has_a_true_minus_and_no_difference_is_said_so(reviewed):
    worse = form_review(reviewed, Verdict.WORSE, -0.0042, -0.0052, -0.0032)
    assert verdict_of(worse, 0.0) == f"Worse by {MINUS}0.0042"
    same = form_review(reviewed, Verdict.NOT_SHOWN, 0.0, 0.0, 0.0)
    assert verdict_of(same, 0.0) == "Not shown: no difference"


def test_the_page_says_what_the_review_says(reviewed):
    review = read_review(reviewed.review)
    headline = review.headline
    assert headline.verdict is Verdict.BETTER
    page = text_of(reviewed.get(ADDRESS).text)
    ends = f"+{headline.difference.low:.4f} to +{headline.difference.high:.4f}"
    assert f"Better by +{headline.difference.value:.4f} 95% interval {ends}" in page
    assert f"{headline.candidate.value:.4f} against {headline.reference.value:.4f}" in page
    assert f"paired over 59 images in {review.groups} near-duplicate groups" in page
    assert "over held-out images, not over seeds" in page
    for check in review.checks:
        assert check.text in page
    assert f"{review.headline.labels.too_few} labels have too few to tell" in page


def test_the_other_form_is_one_switch_away_and_beside_it_all_the_time(reviewed):
    review = read_review(reviewed.review)
    image = review.forms[MetricForm.IMAGE]
    page = reviewed.get(f"{ADDRESS}&form=image").text
    assert f"Better by +{image.difference.value:.4f}" in text_of(page)
    assert "The checks are those of the class form" in text_of(page)
    forms = charts_of(review, MetricForm.CLASS)[1]
    assert f"image form: +{image.difference.value:.4f}" in forms.description
    assert "form=class" not in page
    assert "/review?a=new@200&amp;b=old@100&amp;form=image" in reviewed.get(ADDRESS).text


def test_bands_add_up_to_the_difference(reviewed):
    review = read_review(reviewed.review)
    for form in MetricForm:
        bands = review.forms[form].bands
        total = review.forms[form].difference.value
        assert sum(each.difference.value for each in bands) == pytest.approx(total, abs=1e-12)
        chart = charts_of(review, form)[0]
        assert chart.description.count(";") == len(bands)
        assert f"all labels: +{total:.4f}" in chart.description


def test_bands_that_are_chance_are_said_not_to_be_shown(reviewed):
    reviewed.write_review(EvaluationName("new", 100))
    result = read_review(reviewed.review).headline
    chance = [each.p_holm > 0.05 for each in result.bands]
    assert any(chance)
    told_of_bands = charts_of(read_review(reviewed.review), MetricForm.CLASS)[0].description
    assert [part.endswith("not shown") for part in told_of_bands.split("; ")][:-1] == chance


def test_all_labels_are_in_the_json_and_add_up_to_the_difference(reviewed):
    review = read_review(reviewed.review)
    for form in MetricForm:
        data = reviewed.get(f"/review/labels.json?a=new@200&b=old@100&form={form}").json()
        columns = {column["key"]: column["values"] for column in data["columns"]}
        assert data["rows"] == 16
        total = review.forms[form].difference.value
        assert sum(columns["contribution"]) == pytest.approx(total, abs=1e-9)
        labels = read_review_labels(reviewed.review)
        assert columns["label"] == labels.column("name").to_pylist()
        assert columns["ap_a"][15] is None
        assert sum(columns["testable"]) == review.forms[form].labels.testable


def test_labels_come_largest_contribution_first(reviewed):
    page = reviewed.get(ADDRESS).text
    labels = read_review_labels(reviewed.review)
    sizes = np.abs(labels.column("class_contribution").to_numpy())
    largest = labels.column("name")[int(np.argmax(sizes))].as_py()
    rows = page.partition('id="labels"')[2]
    names = re.findall(r"<tr aria-rowindex.*?<a[^>]*>(.*?)</a>", rows, re.DOTALL)
    assert html.unescape(names[1]) == largest  # The first row is that of the headings.
    assert 'aria-rowcount="17"' in rows
    assert re.search(r'<th[^>]*data-key="contribution"[^>]*aria-sort="descending"', rows)


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("q=%C3%89COLE", lambda row: row["label"] == "école"),
        ("band=1000-2999", lambda row: 1000 <= int(row["train_count"]) < 3000),
        ("testable=true", lambda row: row["q"] != ""),
        ("shown=better", lambda row: row["shown"] == "better"),
    ],
)
def test_the_csv_holds_the_rows_of_the_address(reviewed, query, kept):
    whole = reviewed.get("/review/labels.csv?a=new@200&b=old@100").text
    rows = list(csv.DictReader(io.StringIO(whole)))
    assert len(rows) == 16
    found = reviewed.get(f"/review/labels.csv?a=new@200&b=old@100&{query}").text
    expected = [row for row in rows if kept(row)]
    assert list(csv.DictReader(io.StringIO(found))) == expected
    assert 0 < len(expected) < 16 or query == "shown=better"


@pytest.mark.parametrize("step", [100, 200])
def test_shown_labels_are_those_that_the_review_counts(reviewed, step):
    reviewed.write_review(EvaluationName("new", step))
    counts = read_review(reviewed.review).headline.labels
    if step == 100:  # Little is shown there.
        assert counts.shown_better + counts.shown_worse < counts.testable
    for verdict, count in (("better", counts.shown_better), ("worse", counts.shown_worse)):
        address = f"/review/labels.csv?a=new@{step}&b=old@100&shown={verdict}"
        assert len(reviewed.get(address).text.splitlines()) - 1 == count


def test_movers_are_the_largest_gains_and_losses(reviewed):
    labels = read_review_labels(reviewed.review).to_pylist()
    order = sorted(labels, key=lambda row: row["class_contribution"])
    lost = [row["name"] for row in order if row["class_contribution"] < 0][:8]
    gained = [row["name"] for row in order[::-1] if row["class_contribution"] > 0][:8]
    page = reviewed.get(ADDRESS).text
    for title, names in (("gained", gained), ("lost", lost)):
        part = page.partition(f"Labels that {title} most")[2].partition("</section>")[0]
        found = [html.unescape(name) for name in re.findall(r"<a href=[^>]*>(.*?)</a>", part)]
        assert found == names


def test_names_are_text_whatever_they_hold(reviewed):
    page = reviewed.get(ADDRESS).text
    assert "<b>bold</b>" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page


def test_without_b_it_is_the_champion(reviewed):
    assert reviewed.get("/review?a=new@200").status_code == 404
    reviewed.promote(OLD := EvaluationName("old", 100))
    page = reviewed.get("/review?a=new@200").text
    assert "against champion old step 100" in text_of(page)
    assert f"b={OLD}" not in page
    assert "Promoting is a command" in text_of(page)


def test_the_champion_itself_is_not_to_be_promoted(reviewed):
    reviewed.promote(EvaluationName("new", 200))
    page = text_of(reviewed.get(ADDRESS).text)
    assert "It is the champion." in page
    assert "manylabel promote" not in page


def test_a_failed_check_is_marked_and_overridden_by_name(reviewed):
    reviewed.write_review(EvaluationName("old", 100), EvaluationName("new", 200))
    page = reviewed.get("/review?a=old@100&b=new@200").text
    assert '<li class="failed"><span class="hidden-text">failed: </span>Worse by' in page
    assert "--override difference" in text_of(page)


def test_a_checkpoint_against_itself_is_not_shown(reviewed):
    reviewed.write_review(EvaluationName("new", 200), EvaluationName("new", 200))
    page = text_of(reviewed.get("/review?a=new@200&b=new@200").text)
    assert "Not shown: no difference" in page
    assert "No label gained." in page
    assert "0.0% better" in page


def test_before_a_review_is_written_the_page_names_the_command(reviewed):
    answer = reviewed.get("/review?a=new@100&b=old@100")
    assert answer.status_code == 200
    assert "Not reviewed yet" in answer.text
    expected = f"manylabel review {reviewed.root / 'new'} 100 --against old@100"
    assert expected in html.unescape(answer.text)
    data = reviewed.get("/review.json?a=new@100&b=old@100").json()
    assert data["review"] is None
    values = [each["value"] for each in data["evaluations"].values()]
    for value in values:
        assert f"<b>{value:.4f}</b>" in answer.text
    assert len(values) == 2


@pytest.mark.parametrize(
    ("names", "missing"), [("a=new@7&b=old@100", "new@7"), ("a=new@100&b=old@8", "old@8")]
)
def test_what_must_be_evaluated_before_a_review_is_told(reviewed, names, missing):
    page = html.unescape(reviewed.get(f"/review?{names}").text)
    run, _, step = missing.partition("@")
    assert f"{missing} was not evaluated" in page
    assert f"manylabel evaluate {reviewed.root / run} --step {step}" in page
    assert "Not reviewed yet" in page


def test_an_evaluation_made_again_since_is_told(reviewed):
    reviewed.evaluate(
        EvaluationName("new", 200),
        2.5,
        3,
        read_review(reviewed.review).candidate.evaluated_at + timedelta(hours=1),
    )
    assert "new@200 was evaluated again after this review was written" in reviewed.get(ADDRESS).text


def test_the_newest_of_several_reviews_is_shown(reviewed):
    reviewed.write_review(margin=0.9)
    assert "Equal within 0.9" in reviewed.get(ADDRESS).text


def test_many_checkpoints_looked_at_are_told(reviewed):
    review = read_review(reviewed.review)
    assert review.looked_at == 2
    page = text_of(reviewed.get(ADDRESS).text)
    assert "2 checkpoints of new were evaluated. If this one was chosen for its value" in page
    assert told(review, MetricForm.IMAGE).basis.startswith("paired over 59 images")


@pytest.mark.parametrize("how", ["cut", "gone"])
@pytest.mark.parametrize("name", ["labels.parquet", "images.parquet", "review.json"])
def test_a_damaged_file_of_the_review_is_named_with_its_command(reviewed, name, how):
    path = reviewed.review / name
    damage(path, how)
    answer = reviewed.get(ADDRESS)
    page = html.unescape(answer.text)
    assert answer.status_code == 200
    if (name, how) == ("review.json", "gone"):  # As if it had never been written.
        assert "Not reviewed yet" in page
    else:
        assert str(path) in page
    assert f"manylabel review {reviewed.root / 'new'} 200 --against old@100" in page
    assert ("Better by" in page) == (name != "review.json")


@pytest.mark.parametrize("name", ["labels.parquet", "images.parquet"])
def test_a_review_with_a_margin_is_made_again_with_it(reviewed, name):
    reviewed.write_review(margin=0.002)
    damage(reviewed.review / name, "cut")
    (problem,) = reviewed.get(ADDRESS.replace("/review?", "/review.json?")).json()["problems"]
    assert problem["command"].endswith(" --against old@100 --margin 0.002")
    assert "manylabel review" not in problem["text"]


def test_a_label_without_a_test_says_so(reviewed):
    page = reviewed.get(ADDRESS).text
    table = page[page.index("data-source") :]
    assert '<td class="number">too few</td>' in table
    data = reviewed.get(ADDRESS.replace("/review?", "/review/labels.json?")).json()
    assert {column["key"]: column["absent"] for column in data["columns"]}["q"] == "too few"


@pytest.mark.parametrize(
    "damaged",
    [
        ("new", "evals/00000200/SETTINGS/summary.json"),
        ("old", "evals/00000100/SETTINGS/summary.json"),
        ("new", "history/SETTINGS/evaluations.parquet"),
    ],
)
def test_other_damage_leaves_the_review_to_read(reviewed, damaged):
    path = reviewed.root / damaged[0] / damaged[1].replace("SETTINGS", reviewed.settings)
    damage(path, "cut")
    page = html.unescape(reviewed.get(ADDRESS).text)
    assert str(path) in page
    assert f"manylabel evaluate {reviewed.root / damaged[0]} --step" in page
    assert "Better by" in page
    assert "Labels that gained most" in page


def test_without_the_dataset_the_pictures_are_names(reviewed):
    reviewed.dataset.root.rename(reviewed.dataset.root.with_name("moved"))
    page = html.unescape(reviewed.get(ADDRESS).text)
    assert "--dataset DIR" in page
    assert "<img" not in page
    assert "no-picture" in page


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/review", 400),
        ("/review?a=new", 400),
        ("/review?a=new@200&b=old", 400),
        ("/review?a=new@200&b=old@100&form=other", 400),
        ("/review?a=new@200&b=old@100&band=7", 400),
        ("/review?a=none@200&b=old@100", 404),
        ("/review?a=..@200&b=old@100", 404),
    ],
)
def test_an_address_that_makes_no_sense_is_told(reviewed, address, status):
    answer = reviewed.get(address)
    assert answer.status_code == status
    assert "Traceback" not in answer.text


def test_each_figure_is_a_file(reviewed):
    for name in ("bands", "forms", "images"):
        answer = reviewed.get(f"/review/{name}.svg?a=new@200&b=old@100")
        assert answer.headers["content-type"] == "image/svg+xml"
    assert json.loads(reviewed.get("/review.json?a=new@200&b=old@100").text)["looked_at"] == 2


def damage(path, how):
    if how == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
