"""Training jobs as users start them, on real Ray, with processes that are killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
import yaml

from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName
from manylabel.trainer.records.ledger import Settlement
from manylabel.trainer.runs.checkpoint import list_checkpoints, read_manifest
from manylabel.trainer.runs.metrics_log import read_metrics

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

EPOCHS = 6
DEADLINE = 280  # seconds; a busy machine takes many times what an idle one does


@pytest.fixture
def job(
    clipart_dataset: Dataset, tmp_path: Path, descendants: Callable[[int], list[int]]
) -> Iterator["Job"]:
    job = Job(clipart_dataset, tmp_path, descendants)
    yield job
    job.kill()


class Job:
    """`manylabel train` in a process of its own, always the same command.

    Args:
        trainer: sections of the settings in place of those below.
    """

    def __init__(
        self,
        dataset: Dataset,
        folder: Path,
        descendants: Callable[[int], list[int]],
        **trainer: object,
    ) -> None:
        self._descendants = descendants
        self.records = dataset.records(SplitName.TRAIN)
        self.run = folder / "run"
        self._log = folder / "log.txt"
        settings = folder / "settings.yaml"
        settings.write_text(
            yaml.safe_dump(
                {
                    "preprocessing": {"catalog": {"path": "unused.csv"}},
                    "trainer": {
                        "model": {"input_size": 40, "width": 0.125, "middle_repeats": 0},
                        "input": {"batch_size": 8, "decode_threads": 1},
                        "epochs": EPOCHS,
                        "topology": {"workers": 2, "parameter_shards": 2, "leased_batches": 2},
                        "checkpoints": {"every_samples": 200, "keep": 2},
                        "updates_per_metrics_row": 4,
                        **trainer,
                    },
                }
            )
        )
        self._command = [
            *(str(Path(sys.executable).with_name("manylabel")), "train", str(settings)),
            *("--dataset", str(dataset.root), "--run", str(self.run)),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def samples(self) -> int:
        """Records counted so far, as the metrics tell."""
        rows = read_metrics(self.run)
        return rows[-1].samples if rows else 0

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def start_piped(self) -> IO[bytes]:
        """Like `start`, but returns what the job prints."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log)
        assert self._process.stdout is not None
        return self._process.stdout

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert self._process is not None
            assert self._process.poll() is None, f"the job ended too early:\n{self.log}"
            assert time.monotonic() < deadline, f"nothing in {DEADLINE} s:\n{self.log}"
            time.sleep(0.05)

    def end(self) -> int:
        assert self._process is not None
        return self._process.wait(DEADLINE)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def process_ids(self, actor: bytes) -> list[int]:
        """Process ids of the actors of this kind that belong to this job."""
        assert self._process is not None
        return [
            process
            for process in self._descendants(self._process.pid)
            if actor in Path(f"/proc/{process}/cmdline").read_bytes()
        ]

    def kill(self) -> None:
        """Ends every process of the job, as a power cut would."""
        if self._process is None or self._process.poll() is not None:
            return
        everything = [self._process.pid, *self._descendants(self._process.pid)]
        for process in everything:
            _kill(process)
        self._process.wait()

    def assert_each_record_was_counted_once(self) -> None:
        final = list_checkpoints(self.run)[-1]
        ledger = read_manifest(final.path).ledger
        total = EPOCHS * self.records
        assert ledger.next_position == total, "everything was dealt"
        assert ledger.undone == (), "nothing that was dealt is missing"
        assert ledger.settled[Settlement.APPLIED] == total, "and nothing was counted twice"
        assert final.samples == total


def test_a_killed_worker_and_a_closed_display_lose_no_record(job: Job):
    """As with `manylabel train ... | grep -m 1 died`."""
    printed = job.start_piped()
    job.wait_until(lambda: job.samples > job.records // 2)
    victim, *_ = job.process_ids(b"GradientWorkerProcess")
    started_with = Path(f"/proc/{victim}/environ").read_bytes().split(b"\0")
    assert b"MALLOC_MMAP_MAX_=0" in started_with, "it keeps the memory it frees"
    os.kill(victim, signal.SIGKILL)
    assert any(b"died" in line for line in printed), "the user is told"
    printed.close()
    assert job.end() == 0, job.log
    assert job.log == ""
    job.assert_each_record_was_counted_once()


def test_a_killed_job_resumes_and_ends_with_the_same_number_of_samples(job: Job):
    job.start()
    job.wait_until(lambda: any(info.step > 0 for info in list_checkpoints(job.run)))
    shard, *_ = job.process_ids(b"ParameterShardProcess")
    os.kill(shard, signal.SIGKILL)
    assert job.end() == 75, job.log
    assert "Traceback" not in job.log
    told = r"error: shard-\d on 127\.0\.0\.1 \(process \d+\) was lost \(its process ended\); run"
    assert re.search(told, job.log), job.log

    job.start()
    job.wait_until(lambda: bool(job.process_ids(b"GradientWorkerProcess")))
    job.kill()
    interrupted_at = list_checkpoints(job.run)[-1]
    assert 0 < interrupted_at.samples < EPOCHS * job.records

    job.start()
    # Until workers start, the metrics of the updates that were lost are still there.
    job.wait_until(lambda: bool(job.process_ids(b"GradientWorkerProcess")))
    job.wait_until(lambda: job.samples > interrupted_at.samples)
    job.send(signal.SIGTERM)
    assert job.end() == 130, job.log
    preempted_at = list_checkpoints(job.run)[-1]
    assert preempted_at.samples > interrupted_at.samples, "preemption saves what was done"

    job.start()
    assert job.end() == 0, job.log
    assert f"resumed at step {preempted_at.step:,}" in job.log
    job.assert_each_record_was_counted_once()
    steps = [json.loads(line)["step"] for line in (job.run / "metrics.jsonl").open()]
    assert steps == sorted(set(steps)), "lost updates leave no metrics behind"


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return  # its parent's death ended it already
