"""A training job on three nodes, as a user of the first starts it, and what can be done to it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName
from manylabel.trainer.records.ledger import Settlement
from manylabel.trainer.runs.checkpoint import list_checkpoints, read_manifest
from manylabel.trainer.runs.metrics_log import read_metrics
from tests.integration.nodes._ray_nodes import RayNodes
from tests.integration.nodes._submitter import settings_file

KINDS = {
    "worker": b"GradientWorkerProcess",
    "shard": b"ParameterShardProcess",
    "coordinator": b"CoordinatorProcess",
}
DEADLINE = 150  # seconds


class NodeJob:
    """`manylabel train --address`, always the same command, from a folder that only it is in."""

    def __init__(self, nodes: RayNodes, dataset: Path, run: Path, epochs: int) -> None:
        self.nodes, self.run, self.epochs = nodes, run, epochs
        self.records = Dataset.open(dataset).records(SplitName.TRAIN)
        self.logs = run / "jobs" / "train" / "0001"
        self._printed = run.with_suffix(".log")
        run.parent.mkdir(exist_ok=True)
        settings = settings_file(run.with_suffix(".yaml"), epochs=epochs, workers=3, shards=2)
        self._folder = run.parent
        # Relative: other nodes' processes have other current folders.
        self.command = ["manylabel", "train", settings.name, "--address", nodes.ray_address]
        self.command += ["--dataset", os.path.relpath(dataset, self._folder)]
        self.command += ["--run", os.path.relpath(run, self._folder)]
        self._process: subprocess.Popen[str] | None = None

    @property
    def printed(self) -> str:
        return self._printed.read_text()

    @property
    def samples(self) -> int:
        """Records counted so far, as the metrics tell."""
        rows = read_metrics(self.run) if (self.run / "run.json").exists() else ()
        return rows[-1].samples if rows else 0

    def start(self, node: int = 1, *command: str) -> None:
        """Starts the job, or another command in its place."""
        with self._printed.open("w") as log:
            self._process = self.nodes.popen(
                node,
                # To enter a node's namespaces is to leave the current folder.
                *("sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(self._folder)),
                *(command or self.command),
                env={**self.nodes.environment, "MANYLABEL_JOB_LOGS": str(self.logs)},
                stdout=log,
                stderr=log,
            )

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert self._process is not None
            assert self._process.poll() is None, f"the job ended too early:\n{self.printed}"
            assert time.monotonic() < deadline, f"nothing in {DEADLINE} s:\n{self.printed}"
            time.sleep(0.1)

    def end(self) -> int:
        assert self._process is not None
        return self._process.wait(DEADLINE)

    def processes(self, kind: str) -> list[tuple[int, int]]:
        """(node, process id) of the job's processes of a kind."""
        return self.nodes.titled(KINDS[kind])

    def kill(self, kind: str, *, away_from: int | None = None) -> int:
        """Kills one process of the kind; the node that it was on."""
        node, process = next(each for each in self.processes(kind) if each[0] != away_from)
        os.kill(process, signal.SIGKILL)
        return node

    def places(self) -> list[dict[str, object]]:
        """Who ran where, as the job's status says."""
        status = json.loads((self.run / "jobs" / "train" / "status.json").read_text())
        places: list[dict[str, object]] = status["processes"]
        return places

    def assert_each_record_was_counted_once(self) -> None:
        """In each epoch, over all attempts."""
        final = list_checkpoints(self.run)[-1]
        ledger = read_manifest(final.path).ledger
        total = self.epochs * self.records
        assert ledger.next_position == total, "everything was dealt"
        assert ledger.undone == (), "nothing that was dealt is missing"
        assert ledger.settled[Settlement.APPLIED] == total, "and nothing was counted twice"
