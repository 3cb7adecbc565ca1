"""The monitor of a job, over a program whose workers do what a test says."""

import os
import threading
from dataclasses import replace

import pytest

from manylabel.storage.errors import DamagedShardError, Transient
from manylabel.storage.jobs import ProcessPlace
from manylabel.storage.schema import SplitName
from manylabel.trainer import job
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import LostPartError, TrainingError, UnreachableRunError
from manylabel.trainer.plane.failures import FailureCounts
from manylabel.trainer.plane.layout import ParameterLayout
from manylabel.trainer.plane.metrics import MetricsRow
from manylabel.trainer.plane.status import CoordinatorStatus
from manylabel.trainer.program.losses import AGAIN, WorkerEnd
from manylabel.trainer.program.plan import TrainingPlan
from manylabel.trainer.program.silences import Silences
from manylabel.trainer.records.ledger import RecordLedger
from manylabel.trainer.runs.checkpoint import CheckpointManifest, StreamIdentity
from manylabel.trainer.runs.metrics_log import MetricsLog, read_metrics

GOING = CoordinatorStatus(
    step=0,
    samples=0,
    settled=0,
    done=0,
    rows=[],
    saved=[],
    counts=FailureCounts(),
    notes=[],
    silent_workers=[],
    failure=None,
    passing=False,
    has_work=True,
    finished=False,
    applied={},
    heard={},
)
MANIFEST = CheckpointManifest(
    step=0,
    samples=0,
    layout=ParameterLayout(parameters=(), statistics=()),
    shards=(),
    ledger=RecordLedger(total=20, lease_size=1).state(),
    stream=StreamIdentity(dataset_digest="", seed=0, shuffle_block=1, shuffle_mix=1),
)
ROW = MetricsRow(
    step=1,
    samples=4,
    loss=0.5,
    learning_rate=0.1,
    staleness=0.0,
    max_staleness=0,
    gradient_norm=2.0,
    images_per_second=100.0,
)
DONE = replace(GOING, step=5, samples=20, settled=20, done=20, has_work=False, finished=True)


class ScriptedProgram:
    """Plays a Topology. Each look at it takes the next status and the next ends of workers.

    After the last, statuses repeat and no worker ends any more.
    """

    def __init__(self, statuses, ends=()):
        self._statuses, self._ends = list(statuses), list(ends)
        self._started = 0
        self.workers = []
        self.calls = []
        self.answering = []

    def status(self):
        return self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]

    logs = "where it prints"

    def ping(self):
        pass

    def start_worker(self):
        self._started += 1
        self.workers.append(f"worker-{self._started - 1}")
        return self.workers[-1]

    def shards_answer(self):
        return self.answering.pop(0) if self.answering else True

    def kill_worker(self, worker):
        self.calls.append(("kill", worker))

    def ended_workers(self, timeout):
        ends = self._ends.pop(0) if self._ends else []
        for end in ends:
            self.workers.remove(end.worker)
        return ends

    def places(self, applied):
        return tuple(
            ProcessPlace(name=name, node="10.0.0.7", images=images)
            for name, images in applied.items()
        )

    def call(self, *call):
        self.calls.append(call)


@pytest.fixture
def watch(write_dataset, tmp_path):
    """watch(program, stop=False, on_progress=..., step=0): the report of a job with two workers,
    which goes on from a checkpoint of that step."""
    dataset = write_dataset(train=[[b"never read"] * 20])
    config = TrainerConfig.model_validate({"topology": {"workers": 2}})
    root, checkpoint = str(dataset.root), tmp_path / "checkpoint"
    assert dataset.records(SplitName.TRAIN) == 20

    def watch(
        program, stop=False, on_progress=lambda progress: None, notes=(), silences=None, step=0
    ):
        manifest = MANIFEST.model_copy(update={"step": step})
        plan = TrainingPlan(config, root, tmp_path, checkpoint, manifest)
        asked_to_stop = threading.Event()
        if stop:
            asked_to_stop.set()
        with MetricsLog(tmp_path, 0) as metrics:
            monitor = job._Monitor(
                program, plan, dataset, metrics, on_progress, silences or Silences(), notes
            )
            return monitor.watch(asked_to_stop)

    return watch


def test_nothing_is_written_before_the_cluster_was_reached(write_dataset, tmp_path):
    dataset = write_dataset(train=[[b"never read"] * 20])
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"127\.0\.0\.1:1"):
        job.train(TrainerConfig(), dataset.root, run, address="127.0.0.1:1")
    assert not run.exists()


def test_what_ends_before_the_first_update_leaves_nothing_and_is_told_beforehand(
    write_dataset, tmp_path, monkeypatch
):
    """A failure, or a signal, while the first weights are made; and one when they are there."""
    dataset, run = write_dataset(train=[[b"never read"] * 20]), tmp_path / "runs" / "run"
    told: list[str] = []

    def stopped(run, dataset, config):
        (run / "checkpoints" / ".unfinished-00000000").mkdir(parents=True)
        raise KeyboardInterrupt

    def made(run, dataset, config):
        (run / "checkpoints" / "00000000").mkdir(parents=True)
        return run / "checkpoints" / "00000000"

    monkeypatch.setattr(job, "make_initial_checkpoint", stopped)
    with pytest.raises(KeyboardInterrupt):
        job.train(TrainerConfig(), dataset.root, run, on_doing=told.append)
    assert told == ["looking for a checkpoint to go on from", "making the first weights"]
    monkeypatch.setattr(job, "make_initial_checkpoint", made)
    with pytest.raises(TrainingError):  # It is empty.
        job.train(TrainerConfig(), dataset.root, run)
    assert not run.parent.exists()


@pytest.mark.parametrize("split", SplitName)
def test_a_shard_that_is_not_the_manifests_is_named_before_anything_begins(
    write_dataset, lfs_pointer, tmp_path, split
):
    """Not record by record: a clone without its large files has as many as the dataset. And not
    when the first checkpoint is to be evaluated, hours later."""
    first, second, third, fourth = ([b"never read"] * records for records in (20, 10, 5, 4))
    dataset = write_dataset(train=[first, second], heldout=[third, fourth])
    shard = dataset.root / dataset.split(split).shards[1].path
    shard.write_bytes(lfs_pointer)
    with pytest.raises(
        DamagedShardError, match=rf"{shard}: .* Git LFS pointer; run `git lfs pull`"
    ):
        job.train(TrainerConfig(), dataset.root, tmp_path / "run", address="127.0.0.1:1")
    assert not (tmp_path / "run").exists()


def test_who_runs_where_is_told(watch):
    """As the program says, with the records that the coordinator counted."""
    seen: list[job.TrainingProgress] = []
    watch(ScriptedProgram([replace(DONE, applied={"worker-0": 20})]), on_progress=seen.append)
    (place,) = seen[-1].processes
    assert (place.name, place.images) == ("worker-0", 20)


def test_settings_that_go_together_badly_are_told_once(watch):
    """The default epsilon, and labels of which no image is there."""
    seen: list[job.TrainingProgress] = []
    noted = replace(GOING, step=1, notes=["worker 1 died"])
    watch(ScriptedProgram([GOING, noted, DONE]), on_progress=seen.append)
    assert [len(progress.notes) for progress in seen] == [1, 1, 0, 0]
    assert "10 of 10 labels have fewer" in seen[0].notes[0]
    assert seen[1].notes == ["worker 1 died"]


def test_what_a_run_began_with_is_told_once(watch):
    seen: list[job.TrainingProgress] = []
    going = replace(GOING, step=1, notes=["worker-0 ended"])
    watch(ScriptedProgram([going, DONE]), on_progress=seen.append, notes=["began with a.keras"])
    first, *others = [progress.notes for progress in seen]
    assert (first[0], first[-1]) == ("began with a.keras", "worker-0 ended")
    assert not any(others)


def test_the_error_of_a_lost_part_names_the_logs(watch):
    class Lost(ScriptedProgram):
        def ping(self):
            raise LostPartError("shard-1 was lost")

    with pytest.raises(LostPartError, match=r"^shard-1 was lost; logs: where it prints$"):
        watch(Lost([GOING]))


def test_a_worker_that_is_not_heard_is_told(watch):
    silences = Silences()
    hung = replace(DONE, heard={"worker-1": 130.0})
    watch(ScriptedProgram([hung]), silences=silences)
    assert silences.lines() == ["no answer from worker-1 for 130 s"]


def test_dead_workers_are_replaced_while_there_is_work(watch):
    program = ScriptedProgram(
        [GOING, replace(GOING, step=1), replace(GOING, step=2, has_work=False), DONE],
        [[], [WorkerEnd("worker-0", "killed")], [WorkerEnd("worker-1", None)]],
    )
    report = watch(program)
    assert (report.step, report.samples, report.interrupted) == (5, 20, False)
    assert program.calls == [
        ("worker_started", "worker-0"),
        ("worker_started", "worker-1"),
        ("worker_ended", "worker-0", "killed"),
        ("worker_ended", "worker-1", None),
        ("finish",),
    ]


def test_a_hung_worker_is_killed(watch):
    hung = replace(GOING, step=1, silent_workers=["worker-1"])
    program = ScriptedProgram([GOING, hung, DONE], [[], [WorkerEnd("worker-1", "killed")]])
    watch(program)
    kill, buried = ("kill", "worker-1"), ("worker_ended", "worker-1", "killed")
    assert program.calls[2:] == [kill, buried, ("finish",)]


def test_a_worker_is_not_killed_for_a_shard_that_did_not_answer(watch):
    """It waited for the shard, and has all its time to say something when that answers again."""
    silent = replace(GOING, step=1, silent_workers=["worker-0", "worker-1"])
    hung = replace(silent, silent_workers=["worker-1"])
    program = ScriptedProgram([GOING, silent, GOING, hung, DONE])
    program.answering = [False, True]
    watch(program)
    assert program.calls[2:] == [("excuse_silence",), ("kill", "worker-1"), ("finish",)]


def test_an_error_before_the_first_update_ends_the_job_with_it(watch):
    error = TrainingError("the dataset is not mounted")
    program = ScriptedProgram([GOING], [[WorkerEnd("worker-0", "TrainingError", error)]])
    with pytest.raises(TrainingError, match="not mounted"):
        watch(program)


def test_an_error_of_one_worker_later_does_not(watch):
    error = RuntimeError("out of GPU memory")
    end = WorkerEnd("worker-0", "RuntimeError: out of GPU memory", error)
    program = ScriptedProgram([GOING, replace(GOING, step=1), DONE], [[], [end]])
    assert watch(program).step == 5
    assert ("worker_ended", "worker-0", "RuntimeError: out of GPU memory") in program.calls


@pytest.mark.parametrize("passing", [False, True])
def test_a_failure_is_told_after_what_is_sound_was_saved(watch, passing):
    failed = replace(GOING, failure="101 unreadable records", passing=passing)
    program = ScriptedProgram([GOING, failed])
    with pytest.raises(TrainingError, match="101 unreadable records") as caught:
        watch(program)
    assert program.calls[-1] == ("finish",)
    assert isinstance(caught.value, Transient) == passing


@pytest.mark.parametrize("checkpoint", [None, "the checkpoint of step 1 could not be written"])
def test_metrics_that_do_not_fit_end_training_after_it_was_saved(
    watch, tmp_path, monkeypatch, checkpoint
):
    """As far as there is room; and what came first is told."""
    monkeypatch.setattr(job, "_GRACE_SECONDS", 0.0)
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    seen: list[job.TrainingProgress] = []
    updated = replace(GOING, step=1, rows=[ROW])
    program = ScriptedProgram([GOING, updated, replace(updated, failure=checkpoint)])
    with pytest.raises(TrainingError) as caught:
        watch(program, on_progress=seen.append)
    assert program.calls[-2:] == [("stop",), ("finish",)]
    full = f"{tmp_path}/metrics.jsonl: No space left on device: "
    (note,) = seen[1].notes
    assert note.startswith(full)
    assert str(caught.value).startswith(full)
    what_to_do = f"step 1 is saved; make room there, then {AGAIN}"
    assert str(caught.value).endswith(f", so training ended: {checkpoint or what_to_do}")
    assert not isinstance(caught.value, Transient)


@pytest.mark.parametrize("passing", [True, False])
def test_metrics_whose_storage_fails_for_a_moment_are_a_reason_to_try_again(
    watch, tmp_path, monkeypatch, passing
):
    """Unless somebody has to mend it."""
    monkeypatch.setattr(job, "_GRACE_SECONDS", 0.0)
    path = tmp_path / "metrics.jsonl"

    class Failing(ScriptedProgram):
        def call(self, method, *arguments):
            super().call(method, *arguments)
            if method == "worker_started" and arguments == ("worker-1",):
                self.mend = break_file(path, passing=passing)
            if method == "finish":
                self.mend()

    later = replace(GOING, step=2, rows=[replace(ROW, step=2)])
    program = Failing([GOING, replace(GOING, step=1, rows=[ROW]), later])
    with pytest.raises(TrainingError, match=rf"{path}.*: step 2 is saved; mend that, then") as told:
        watch(program)
    assert isinstance(told.value, UnreachableRunError) == passing
    assert program.calls[-2:] == [("stop",), ("finish",)]
    assert [row.step for row in read_metrics(tmp_path)] == [1, 2], "no more is lost than must be"


def break_file(path, *, passing):
    """Has all that is written to a file that is open fail until what is returned is called: as on a
    broken disk (EIO), or, if that is not to pass, as one that is open for reading alone (EBADF)."""
    numbers = map(int, os.listdir("/proc/self/fd"))
    (number,) = (n for n in numbers if os.path.realpath(f"/proc/self/fd/{n}") == str(path))
    whole, broken = os.dup(number), os.open("/proc/self/mem", os.O_RDWR if passing else os.O_RDONLY)
    os.dup2(broken, number)
    os.close(broken)

    def mend():
        os.dup2(whole, number)
        os.close(whole)

    return mend


def test_a_run_in_which_no_record_was_of_use_is_no_success(watch):
    counts = FailureCounts(bad_records=20)
    bad = replace(GOING, settled=20, done=20, has_work=False, finished=True, counts=counts)
    noted = replace(GOING, notes=["a.tfrecord, byte 0: no Example"])
    message = r"none of 20 records made an update: 20 could not .*; the last: a\.tfrecord, byte 0"
    with pytest.raises(TrainingError, match=message):
        watch(ScriptedProgram([noted, bad]))


def test_progress_is_of_what_was_asked_for_and_counts_this_jobs_updates(watch):
    """Of a run that was longer before: 30 of 20 records would be no share."""
    seen: list[job.TrainingProgress] = []
    longer = replace(GOING, step=3, samples=30, settled=30, done=19)
    report = watch(ScriptedProgram([longer, DONE]), on_progress=seen.append, step=2)
    assert [(each.settled, each.total) for each in seen[:2]] == [(19, 20), (20, 20)]
    assert [each.updates for each in seen[:2]] == [1, 3]
    assert report.resumed_at == 2


def test_being_stopped_saves_although_a_worker_never_ends(watch, monkeypatch):
    monkeypatch.setattr(job, "_GRACE_SECONDS", 0.05)
    program = ScriptedProgram([replace(GOING, step=3)])
    program.start_worker()
    report = watch(program, stop=True)
    assert program.calls == [("stop",), ("finish",)]
    assert (report.step, report.interrupted) == (3, True)


def test_who_fails_to_hear_of_progress_ends_training_after_it_was_saved(watch, monkeypatch):
    """Also at its end; and why training failed is told first."""
    monkeypatch.setattr(job, "_GRACE_SECONDS", 0.0)
    told: list[int] = []

    def fail(progress):
        told.append(progress.step)
        raise LookupError("nobody listens")

    going = ScriptedProgram([GOING, replace(GOING, step=1)])
    for program in (going, ScriptedProgram([DONE])):
        with pytest.raises(LookupError, match="nobody listens"):
            watch(program, on_progress=fail)
        assert program.calls[-2:] == [("stop",), ("finish",)]
    assert told == [GOING.step, DONE.step], "nothing more after that"
    with pytest.raises(TrainingError, match="101 unreadable records"):
        watch(ScriptedProgram([replace(GOING, failure="101 unreadable records")]), on_progress=fail)
