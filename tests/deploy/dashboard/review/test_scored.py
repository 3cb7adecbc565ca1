"""Folders of another tool's predictions (`manylabel score --run`), which have no run.json."""

import html
import re
import shlex

import pytest

from manylabel.eval.store.evaluations import read_summary

from .conftest import NEW

SOURCE = "/predictions of others/best.csv"


@pytest.fixture
def scored(reviewed):
    """new@100 and new@200 were scored."""
    run = reviewed.root / "new"
    (run / "run.json").unlink()
    for step in (100, 200):
        summary = read_summary(run, step, reviewed.settings)
        provenance = summary.provenance.model_copy(update={"checkpoint": SOURCE})
        path = run / "evals" / f"{step:08d}" / reviewed.settings / "summary.json"
        path.write_bytes(summary.model_copy(update={"provenance": provenance}).to_bytes())
    reviewed.write_review()
    return reviewed


def test_they_stand_among_the_runs(scored):
    data = scored.get("/runs.json").json()
    rows = {row["name"]: row for row in data["runs"]}
    assert set(rows) == {"new", "old"}
    assert rows["new"]["state"]["doing"] == "scored"
    assert rows["new"]["evaluations"] == 2
    assert data["problems"] == []


def test_their_page_opens_without_training(scored):
    answer = scored.get("/runs/new")
    assert answer.status_code == 200
    assert "there is no training to show" in answer.text
    assert "manylabel train" not in answer.text
    problems = scored.get("/runs/new.json").json()["problems"]
    # The dataset of this test lacks that file.
    assert [each["text"] for each in problems if "rejected.parquet" not in each["text"]] == []
    assert "Labels of each held-out image" in answer.text


@pytest.mark.parametrize("page", ["/images/3", "/labels/1"])
def test_their_pictures_are_of_the_dataset_that_was_scored(scored, page):
    text = scored.get(f"{page}?a=new@200&b=old@100").text
    sources = re.findall(r'src="(/thumbnails/new/[^"]+)"', text)
    assert sources
    answer = scored.get(html.unescape(sources[0]))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"


def test_they_are_scored_again_and_not_evaluated(scored):
    (scored.evaluation(NEW) / "classes.parquet").write_bytes(b"")
    data = scored.get("/labels/1.json?a=new@200&b=old@100").json()
    (problem,) = data["problems"]
    assert shlex.split(problem["command"]) == [
        *("manylabel", "score", SOURCE, "--dataset", str(scored.dataset.root)),
        *("--run", str(scored.root / "new"), "--step", "200", "--samples", "6400"),
    ]
    assert "`manylabel" not in problem["text"]


def test_without_a_summary_the_command_has_gaps_to_fill(scored):
    for path in (scored.root / "new" / "evals").glob("*/*/summary.json"):
        path.write_text("{")
    answer = scored.get("/labels/1?a=new@200")
    assert answer.status_code == 404
    assert "manylabel score PREDICTIONS --dataset DATASET" in answer.text


def test_a_run_that_lost_its_description_is_none_of_them(scored):
    (scored.root / "new" / "checkpoints").mkdir()
    rows = {row["name"]: row for row in scored.get("/runs.json").json()["runs"]}
    assert rows["new"]["state"]["doing"] == "unreadable"
