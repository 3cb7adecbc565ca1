"""What a command knows of the job that it is an attempt of."""

import datetime

import pytest

from manylabel.storage.jobs import (
    LOGS_VARIABLE,
    Attempt,
    JobStage,
    attempt_path,
    is_retry,
    logs_path,
)


@pytest.fixture
def attempt(tmp_path, monkeypatch):
    """Makes this process the command of an attempt of a job."""

    def begin(number, submission):
        record = Attempt(
            number=number,
            stage=JobStage.TRAIN,
            submission=submission,
            address="http://10.0.0.1:8265",
            command=("train",),
            code_version="1",
            host="head",
            started=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        )
        record.write(attempt_path(tmp_path, JobStage.TRAIN, number))
        monkeypatch.setenv(LOGS_VARIABLE, str(logs_path(tmp_path, JobStage.TRAIN, number)))

    (tmp_path / "jobs" / "train").mkdir(parents=True)
    return begin


def test_only_a_later_attempt_of_the_same_submission_is_a_retry(attempt):
    attempt(1, "manylabel-train-1")
    assert not is_retry()
    attempt(2, "manylabel-train-1")
    assert is_retry()
    attempt(3, "manylabel-train-3")
    assert not is_retry(), "submitted anew, perhaps with other settings"


def test_a_command_that_was_not_submitted_is_none(monkeypatch):
    monkeypatch.delenv(LOGS_VARIABLE, raising=False)
    assert not is_retry()


def test_logs_without_their_record_are_none(attempt, tmp_path):
    attempt(1, "one")
    attempt(2, "one")
    attempt_path(tmp_path, JobStage.TRAIN, 1).write_text("{")
    assert not is_retry()
    attempt_path(tmp_path, JobStage.TRAIN, 1).unlink()
    assert not is_retry()
