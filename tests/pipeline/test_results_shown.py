"""Commands whose result is what they print, where standard output takes nothing."""

import datetime
import os
import sys
from contextlib import contextmanager

import pytest

from manylabel.pipeline import cli
from manylabel.pipeline.streams import outlive_displays
from manylabel.storage.jobs import Attempt, JobStage, JobState, attempt_path, logs_path

TOLD = "error: standard output: No space left on device; what is there is cut short\n"


@contextmanager
def full_output():
    streams, before = (sys.stdout, sys.stderr), os.dup(1)
    with open("/dev/full", "wb") as full:
        os.dup2(full.fileno(), 1)
    outlive_displays()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        os.dup2(before, 1)
        os.close(before)


@pytest.fixture
def run(tmp_path):
    """With a job that was submitted, and what it printed; it has a schedule."""
    (tmp_path / "schedules.yaml").write_text('schedules: {nightly: {when: "0 2 * * *"}}\n')
    place = tmp_path / "run"
    Attempt(
        number=1,
        stage=JobStage.TRAIN,
        submission="manylabel-train-run-0-1",
        address="http://head:8265",
        command=("train",),
        code_version="0",
        host="h",
        started=datetime.datetime.now(datetime.UTC),
        state=JobState.DONE,
        exit_code=0,
    ).write(attempt_path(place, JobStage.TRAIN, 1))
    logs = logs_path(place, JobStage.TRAIN, 1)
    logs.mkdir(parents=True)
    (logs / "train.log").write_text("a line\n")
    return place


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "{root}"],
        ["jobs", "{root}"],
        ["status", "{run}"],
        ["logs", "{run}"],
        ["schedule", "list", "{root}"],
        ["networks", "demo"],
        ["presets", "list"],
        ["presets", "show", "demo"],
    ],
    ids=" ".join,
)
def test_what_is_lost_is_told(arguments, run, capfd):
    filled = [each.format(root=run.parent, run=run) for each in arguments]
    with full_output():
        assert cli.run(filled) == 2
    assert capfd.readouterr().err == TOLD
