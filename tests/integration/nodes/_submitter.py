"""Who submits: this machine, which is none of the cluster's nodes and reaches the head alone."""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from manylabel.storage.jobs import (
    Attempt,
    JobStage,
    JobStatus,
    attempt_numbers,
    attempt_path,
    status_path,
)
from manylabel.trainer.runs.checkpoint import list_checkpoints, read_manifest
from tests.integration.nodes._ray_nodes import BIN, RayNodes

MANYLABEL = str(BIN / "manylabel")
COMMANDS = {
    "supervisor": b"-m\0manylabel\0supervise",
    "command": b"-m\0manylabel\0train",
    "worker": b"GradientWorkerProcess",
    "shard": b"ParameterShardProcess",
    "coordinator": b"CoordinatorProcess",
}
DEADLINE = 120  # seconds


def settings_file(path: Path, *, epochs: int, workers: int = 1, shards: int = 1) -> Path:
    """Of a training that three busy nodes get through quickly."""
    path.write_text(
        yaml.safe_dump(
            {
                "preprocessing": {"catalog": {"path": "unused.csv"}},
                "trainer": {
                    "model": {"input_size": 40, "width": 0.125, "middle_repeats": 0},
                    "input": {"batch_size": 8, "decode_threads": 1},
                    "epochs": epochs,
                    "topology": {
                        "workers": workers,
                        "parameter_shards": shards,
                        "leased_batches": 2,
                        "cpus_per_worker": 1,
                    },
                    "checkpoints": {"every_samples": 200, "keep": 2},
                    "updates_per_metrics_row": 4,
                },
            }
        )
    )
    return path


class Running:
    """A command that goes on, and what it has printed."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

    @property
    def printed(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str) -> None:
        """Until it has printed that."""
        wait_until(lambda: text in self.printed or self.process.poll() is not None, self)
        assert text in self.printed, self.printed

    def end(self) -> int:
        """Its exit code."""
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end in {DEADLINE} s:\n{self.printed}") from None

    def interrupt(self) -> None:
        """Presses Ctrl-C."""
        self.process.send_signal(signal.SIGINT)


class Submitter:
    """Runs our command on this machine, with the cluster's token."""

    def __init__(self, nodes: RayNodes, folder: Path) -> None:
        self.nodes, self.folder = nodes, folder
        self.address = ["--address", nodes.address]
        self.environment = nodes.environment
        self._commands = 0

    def run(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """A command to its end."""
        return subprocess.run(
            [MANYLABEL, *arguments],
            env=environment or self.environment,
            text=True,
            capture_output=True,
            timeout=DEADLINE,
        )

    def start(self, *arguments: str) -> Running:
        """A command that goes on."""
        self._commands += 1
        log = self.folder / f"command-{self._commands}.log"
        return Running([MANYLABEL, *arguments], log, self.environment)

    def processes(self, kind: str) -> list[tuple[int, int]]:
        """(node, process id) of the processes of a kind, over all nodes."""
        return self.nodes.titled(COMMANDS[kind])

    def signal(self, kind: str, number: signal.Signals) -> None:
        """To the one process of a kind."""
        ((_, process),) = self.processes(kind)
        os.kill(process, number)


class Place:
    """What stands in a run's directory, or a dataset's."""

    def __init__(self, path: Path, stage: JobStage) -> None:
        self.path, self.stage = path, stage

    @property
    def status(self) -> JobStatus:
        return JobStatus.read(status_path(self.path, self.stage))

    @property
    def attempts(self) -> list[Attempt]:
        numbers = attempt_numbers(self.path, self.stage)
        return [Attempt.read(attempt_path(self.path, self.stage, each)) for each in numbers]

    @property
    def checkpoints(self) -> list[int]:
        """Steps, oldest first; none before the first is written."""
        if not (self.path / "run.json").exists():
            return []
        return [each.step for each in list_checkpoints(self.path)]

    @property
    def ledger(self) -> Any:
        """Of the newest checkpoint."""
        return read_manifest(list_checkpoints(self.path)[-1].path).ledger

    def by_node(self, value: Callable[[Any], int]) -> Counter[str]:
        """A number of each process, summed over a node's processes."""
        found: Counter[str] = Counter()
        for process in self.status.processes:
            found[process.node] += value(process)
        return found

    def wait_for_checkpoint(self, after: int = 0) -> int:
        """Until there is one of a later step; its step."""
        wait_until(lambda: bool(self.checkpoints) and self.checkpoints[-1] > after, self.path)
        return self.checkpoints[-1]


def wait_until(condition: Callable[[], bool], what: object) -> None:
    """Fails after `DEADLINE`."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, getattr(what, "printed", what)
        time.sleep(0.1)
