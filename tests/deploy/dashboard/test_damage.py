"""Damaged files: named with what repairs them, everything else still shown, never an error page."""

import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.storage.jobs import (
    Attempt,
    JobStage,
    JobState,
    JobStatus,
    attempt_path,
    status_path,
)

pytestmark = pytest.mark.slow

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

SETTINGS = "training_share-0123456789ab"
ADDRESSES = ("/", "/runs/run-a", "/runs/run-b", "/runs/run-b.json")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path):
    path.write_bytes(b"\x00\xff{not a file")


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def directory(path):
    path.unlink()
    path.mkdir()


def newest_summary(root):
    return sorted((root / "run-b" / "evals").glob(f"*/{SETTINGS}/summary.json"))[-1]


PLACES = {
    "history": lambda root: root / "run-b" / "history" / SETTINGS / "evaluations.parquet",
    "summary": newest_summary,
    "description": lambda root: root / "run-b" / "run.json",
    "metrics": lambda root: root / "run-b" / "metrics.jsonl",
    "promotion": lambda root: root / "promotions" / "00000001.json",
    "manifest": lambda root: root.parent / "dataset" / "manifest.json",
    "labels": lambda root: root.parent / "dataset" / "labels.parquet",
    "rejected": lambda root: root.parent / "dataset" / "rejected.parquet",
    "index": lambda root: (
        root.parent / "dataset" / "heldout" / "heldout-00000-of-00001.index.parquet"
    ),
    "schedules": lambda root: root / "schedules.yaml",
    "job": lambda root: status_path(root / "run-b", JobStage.TRAIN),
    "attempt": lambda root: attempt_path(root / "run-b", JobStage.TRAIN, 1),
}


def add_job(run):
    """A training on a cluster that failed an hour ago."""
    status = JobStatus(
        stage=JobStage.TRAIN,
        state=JobState.FAILED,
        reason="a node was lost",
        started=NOW - timedelta(hours=2),
        updated=NOW - timedelta(hours=1),
        host="node-1",
        process=12,
    )
    path = status_path(run, JobStage.TRAIN)
    path.parent.mkdir(parents=True)
    status.write(path)
    Attempt(
        number=1,
        stage=JobStage.TRAIN,
        submission="manylabel-1",
        address="http://head:8265",
        command=("train",),
        code_version="1",
        host="node-1",
        started=NOW - timedelta(hours=2),
    ).write(attempt_path(run, JobStage.TRAIN, 1))


@pytest.mark.parametrize("damage", [cut, garbage, empty, remove, directory])
@pytest.mark.parametrize("place", PLACES)
def test_no_damage_anywhere_breaks_a_page(client, filled, place, damage):
    (filled.root / "schedules.yaml").write_text('schedules: {nightly: {when: "0 2 * * *"}}\n')
    add_job(filled.root / "run-b")
    damage(PLACES[place](filled.root))
    browser = client()
    for address in ADDRESSES:
        answer = browser.get(address)
        assert answer.status_code in (200, 404), (address, answer.text)
    assert "run-a" in browser.get("/").text
    assert "other-set" in browser.get("/").text


NAMED = {
    "history": "manylabel evaluate {root}/run-b --step new",
    "summary": "manylabel evaluate {root}/run-b",
    "description": None,
    "promotion": None,
    "manifest": "manylabel preprocess",
    "labels": "manylabel preprocess",
    "rejected": "manylabel preprocess",
    "index": "manylabel preprocess",
    "job": None,
    "attempt": None,
}


@pytest.mark.parametrize("damage", [cut, garbage])
@pytest.mark.parametrize("place", NAMED)
def test_damage_is_named_with_its_path_and_repair(client, filled, place, damage):
    add_job(filled.root / "run-b")
    path = PLACES[place](filled.root)
    damage(path)
    problems = [
        problem
        for address in ("/runs.json", "/runs/run-b.json")
        for problem in client().get(address).json()["problems"]
    ]
    mine = [problem for problem in problems if str(path) in problem["text"]]
    assert mine, problems
    command = NAMED[place]
    if command is not None:
        assert command.format(root=filled.root) in (mine[0]["command"] or "")
    assert all("\n" not in problem["text"] for problem in problems)
    text = client().get("/runs/run-b").text
    assert "need attention" in text or "needs attention" in text


def test_a_damaged_row_of_metrics_is_named_and_half_a_last_one_is_not(client, filled):
    path = PLACES["metrics"](filled.root)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, '{"format_version": 1, "st']))  # The job is writing.
    assert client().get("/runs/run-b.json").json()["problems"] == []
    path.write_text("".join(["{half\n", *lines]))
    (problem,) = client().get("/runs/run-b.json").json()["problems"]
    assert f"{path}, byte 0" in problem["text"]
    assert "move the file away" in problem["text"]


def test_a_missing_history_is_named_though_there_are_evaluations(client, filled):
    remove(PLACES["history"](filled.root))
    data = client().get("/runs.json").json()
    (problem,) = data["problems"]
    assert f"{filled.root}/run-b/history/{SETTINGS}" in problem["text"]
    assert problem["command"] == f"manylabel evaluate {filled.root}/run-b --step new"
    assert {run["name"]: run["value"] is None for run in data["runs"]} == {
        "run-a": False,
        "run-b": True,
        "other-set": False,
    }


def test_an_evaluation_that_the_history_lacks_is_told(client, filled):
    summary = newest_summary(filled.root)
    late = summary.parent.parent.parent / "00099999" / SETTINGS
    late.mkdir(parents=True)
    (late / "summary.json").write_bytes(summary.read_bytes())
    (problem,) = client().get("/runs.json").json()["problems"]
    assert "lacks 1 evaluation" in problem["text"]


def test_a_damaged_newest_promotion_makes_no_earlier_one_the_champion(client, filled):
    filled.promote("run-b", 6_000, "Second", days_ago=0.5)
    garbage(filled.root / "promotions" / "00000002.json")
    data = client().get("/runs.json").json()
    assert data["champion"] is None
    assert any("00000002.json" in problem["text"] for problem in data["problems"])


def test_a_file_that_is_mended_is_shown_without_a_restart(client, filled):
    path = PLACES["history"](filled.root)
    whole = path.read_bytes()
    browser = client()
    assert browser.get("/runs.json").json()["problems"] == []
    cut(path)
    assert len(browser.get("/runs.json").json()["problems"]) == 1
    path.write_bytes(whole)
    assert browser.get("/runs.json").json()["problems"] == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.0, 1e300])
@pytest.mark.parametrize("rows", ["first", "all"])
def test_numbers_without_sense_break_no_page(client, filled, value, rows):
    path = PLACES["history"](filled.root)
    table = pq.read_table(path)
    metadata = table.schema.metadata
    changed = table.to_pylist()
    for row in changed if rows == "all" else changed[:1]:
        row |= {name: value for name, each in row.items() if isinstance(each, float)}
        row |= {"bands": [value] * 6, "baseline_bands": [None] * 6}
    path.unlink()
    schema = table.schema.with_metadata(metadata)
    pq.write_table(pa.Table.from_pylist(changed, schema=schema), path)
    browser = client()
    for address in (
        *ADDRESSES,
        "/runs.csv",
        "/runs/run-b/evaluations.json",
        "/runs/run-b?form=image",
    ):
        answer = browser.get(address)
        assert answer.status_code == 200, address
        assert "nan" not in answer.text.lower().replace("banan", "")
        assert "infinity" not in answer.text.lower()


def test_a_training_that_diverged_is_shown(client, filled):
    path = PLACES["metrics"](filled.root)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[50:]:
        row |= {"loss": float("inf"), "gradient_norm": 1e300}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answer = client().get("/runs/run-b")
    assert answer.status_code == 200
    assert "Gradient norm" in answer.text


def test_a_run_whose_name_is_no_text_is_left_out(client, filled):
    strange = os.fsencode(filled.root) + b"/\xff\xfe"
    os.mkdir(strange)
    shutil.copy(filled.root / "run-a" / "run.json", os.fsdecode(strange) + "/run.json")
    assert client().get("/").status_code == 200
