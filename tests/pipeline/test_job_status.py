"""What a job says of itself while it lives, and when it ends."""

import os
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from manylabel.pipeline import job_status
from manylabel.pipeline.errors import CommandError, Interrupted
from manylabel.pipeline.events import (
    PredictionProgressed,
    PreprocessingProgressed,
    TrainingProgressed,
    WorkBegan,
)
from manylabel.pipeline.job_status import StatusWriter
from manylabel.preprocessing.progress import Progress, Stage
from manylabel.storage.jobs import JobStage, JobState, JobStatus, ProcessPlace, status_path
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.reports import TrainingProgress


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(job_status, "time", clock)
    return clock


def trained(step=3, gpus=(), ended=()) -> TrainingProgressed:
    processes = tuple(
        ProcessPlace(name=f"worker-{n}", node="10.0.0.1", gpus=each, images=8, ended=n in ended)
        for n, each in enumerate(gpus)
    )
    row = SimpleNamespace(images_per_second=12.5)
    progress = TrainingProgress(step, 1, 24, 100, 0.24, 2, row, [], [], processes)  # type: ignore[arg-type]
    return TrainingProgressed(progress)


def ignore(event) -> None:
    pass


def read(place, stage=JobStage.TRAIN) -> JobStatus:
    return JobStatus.read(status_path(place, stage))


def test_nothing_is_written_before_the_place_is_the_jobs_own(tmp_path):
    with StatusWriter(tmp_path, JobStage.PREPROCESS, ignore) as status:
        status.on_event(WorkBegan("preprocess"))
        for stage in (Stage.READ_CATALOG, Stage.COUNT_ROWS):
            status.on_event(PreprocessingProgressed(Progress(stage, 3, 10)))
            assert not list(tmp_path.iterdir()), "another may be at work there"
        status.on_event(PreprocessingProgressed(Progress(Stage.CHECK_IMAGES, 3, 10, 2.5)))
        found = read(tmp_path, JobStage.PREPROCESS)
        assert (found.state, found.doing) == (JobState.RUNNING, Stage.CHECK_IMAGES.value)
        assert (found.done, found.total, found.unit) == (3, 10, "images")
        assert (found.images_per_second, found.process) == (2.5, os.getpid())


def test_an_error_before_that_leaves_the_words_of_another(tmp_path):
    with StatusWriter(tmp_path, JobStage.TRAIN, ignore) as status:
        status.on_event(trained(step=7))
    with pytest.raises(TrainingError), StatusWriter(tmp_path, JobStage.TRAIN, ignore):
        raise TrainingError("another job is at work there")
    assert (read(tmp_path).step, read(tmp_path).state) == (7, JobState.DONE)


def test_events_are_passed_on(tmp_path):
    seen: list[object] = []
    for place in (tmp_path, None):
        with StatusWriter(place, JobStage.TRAIN, seen.append) as status:
            status.on_event(event := trained())
        assert seen == [event]
        seen.clear()


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (None, JobState.DONE, None),
        (Interrupted("stopped at step 3, saved"), JobState.STOPPED, "stopped at step 3, saved"),
        (KeyboardInterrupt(), JobState.STOPPED, "stopped"),
        (CommandError("a.csv:\n no rows"), JobState.FAILED, "a.csv: no rows"),
        (TrainingError("worker-1 was lost"), JobState.FAILED, "worker-1 was lost"),
        (ValueError("our fault"), JobState.FAILED, "ValueError: our fault"),
        (MemoryError(), JobState.FAILED, "MemoryError"),
        (SystemExit(3), JobState.FAILED, "SystemExit: 3"),
    ],
)
def test_the_end_is_told_with_its_reason(tmp_path, error, state, reason):
    raised = nullcontext() if error is None else pytest.raises(type(error))
    with raised, StatusWriter(tmp_path, JobStage.TRAIN, ignore) as status:
        status.on_event(trained(gpus=(1.0,)))
        assert read(tmp_path).state is JobState.RUNNING
        if error is not None:
            raise error
    found = read(tmp_path)
    assert (found.state, found.reason) == (state, reason)
    assert (found.step, found.epoch, found.done, found.total) == (3, 0.24, 24, 100)
    assert found.gpus == 0.0, "none is held any more"


def test_gpu_seconds_are_those_of_processes_that_live(tmp_path, clock):
    with StatusWriter(tmp_path, JobStage.TRAIN, ignore) as status:
        clock.now += 100  # before any is held
        status.on_event(trained(gpus=(1.0, 0.5)))
        assert (read(tmp_path).gpus, read(tmp_path).gpu_seconds) == (1.5, 0.0)
        clock.now += 10
        status.on_event(trained(gpus=(1.0, 0.5), ended=(0,)))
        assert (read(tmp_path).gpus, read(tmp_path).gpu_seconds) == (0.5, 15.0)
        clock.now += 10
    assert (read(tmp_path).gpus, read(tmp_path).gpu_seconds) == (0.0, 20.0)


def test_it_is_written_every_few_seconds(tmp_path, clock):
    with StatusWriter(tmp_path, JobStage.TRAIN, ignore) as status:
        status.on_event(trained(step=1))
        clock.now += 4
        status.on_event(trained(step=2))
        assert read(tmp_path).step == 1
        clock.now += 2
        status.on_event(trained(step=3))
        assert read(tmp_path).step == 3
        status.on_event(trained(step=4))
    assert read(tmp_path).step == 4, "and at the end"


def test_stages_that_are_silent_for_long_are_heard_of_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(job_status, "_HEARTBEAT_SECONDS", 0.01)
    heard = {}
    for stage, event in (
        (JobStage.EVALUATE, PredictionProgressed(1, 2)),
        (JobStage.TRAIN, trained()),  # a monitor that hangs is to be silent
    ):
        with StatusWriter(tmp_path, stage, ignore) as status:
            status.on_event(event)
            first = read(tmp_path, stage).updated
            for _ in range(100):
                job_status.threading.Event().wait(0.01)
                if read(tmp_path, stage).updated > first:
                    break
            heard[stage] = read(tmp_path, stage).updated > first
    assert heard == {JobStage.EVALUATE: True, JobStage.TRAIN: False}


def test_a_full_disk_does_not_end_the_work(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "status.json")

    seen: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(JobStatus, "write", full)
        with StatusWriter(tmp_path, JobStage.TRAIN, seen.append) as status:
            status.on_event(trained())
    assert len(seen) == 1
    assert not status_path(tmp_path, JobStage.TRAIN).exists()


def test_work_that_tells_no_events_is_begun_and_holds_its_gpu(tmp_path, clock):
    with StatusWriter(tmp_path, JobStage.EXPORT, ignore) as status:
        status.begin("exporting", gpus=1)
        found = read(tmp_path, JobStage.EXPORT)
        assert (found.state, found.doing, found.gpus) == (JobState.RUNNING, "exporting", 1.0)
        clock.now += 10
    assert (read(tmp_path, JobStage.EXPORT).gpu_seconds) == 10.0


def test_predicting_holds_the_gpu_that_its_process_has(tmp_path):
    with StatusWriter(tmp_path, JobStage.EVALUATE, ignore) as status:
        status.on_event(PredictionProgressed(1, 2, gpus=1))
        assert read(tmp_path, JobStage.EVALUATE).gpus == 1.0
