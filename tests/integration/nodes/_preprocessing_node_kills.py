"""Preprocessing on three nodes, whose worker processes and whole nodes are killed.

    python -m tests.integration.nodes._preprocessing_node_kills [--workers N] [--nodes N] [--seed N]

At random moments of both phases; and once a node's cable is cut. Each job must come to its end by
itself with the bytes of one in a single process, and account for every image. Prints a line for
each, with the seconds from the blow to the end; about 10 minutes on two cores.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from manylabel.storage.dataset import Dataset
from manylabel.storage.jobs import JobStage, JobStatus, ProcessPlace, status_path
from tests.integration._preprocessing_kills import Phase, contents, make_catalog
from tests.integration._processes import command_of
from tests.integration.nodes._ray_nodes import BIN, RayNodes

LONGEST = 150.0  # seconds that a job may take; Ray gives up a node without a cable after 65
POLL = 0.01


class Victim(StrEnum):
    """Who is struck."""

    WORKER = "a worker"
    NODE = "a node"
    CABLE = "a cable"


@dataclass(frozen=True)
class Stroke:
    """`seconds` after the phase began and there are workers."""

    victim: Victim
    phase: Phase
    seconds: float


class TooLateError(Exception):
    """The job was over before the stroke."""


@dataclass(frozen=True)
class Done:
    """A job that came to its end; `after` is the seconds since the last stroke."""

    root: Path
    output: str
    seconds: float
    after: float

    @property
    def logs(self) -> Path:
        return self.root.with_suffix(".logs")

    @property
    def shards(self) -> int:
        splits = Dataset.open(self.root).manifest.splits.values()
        return sum(len(split.shards) for split in splits)

    def places(self, task: str) -> list[ProcessPlace]:
        """Who did what, as the job told."""
        status = JobStatus.read(status_path(self.root, JobStage.PREPROCESS))
        return [place for place in status.processes if place.name == task]


class Cluster:
    """Jobs on the catalog in the folder's `data`."""

    def __init__(self, nodes: RayNodes, folder: Path, images_per_shard: int) -> None:
        self.nodes, self.folder = nodes, folder
        self._data = folder / "data"
        self._images_per_shard = images_per_shard
        self._inline: Path | None = None

    def inline(self) -> Path:
        """The dataset of a job in one process."""
        if self._inline is None:
            self._inline = self.folder / "inline"
            command = self._command(self._inline, {"executor": "inline"})
            subprocess.run(command, check=True, capture_output=True)
        return self._inline

    def run(
        self,
        root: Path,
        strokes: Sequence[Stroke] = (),
        *,
        code: int = 0,
        address: str | None = None,
        **settings: object,
    ) -> Done:
        """Runs a job on the head, and strikes; it must end by itself, with this exit code."""
        runner = {"executor": "ray", "runner.address": address or self.nodes.ray_address}
        begun = struck = time.monotonic()
        logs = {"MANYLABEL_JOB_LOGS": str(root.with_suffix(".logs"))}
        with tempfile.TemporaryFile("w+") as output:
            process = self.nodes.popen(
                1,
                *self._command(root, {**runner, **settings}),
                stdout=output,
                stderr=output,
                env={**self.nodes.environment, **logs},
            )
            try:
                for stroke in strokes:
                    while process.poll() is None and not self._is(root, stroke.phase):
                        time.sleep(POLL)
                    time.sleep(stroke.seconds)
                    if process.poll() is not None:
                        raise TooLateError
                    self._strike(stroke.victim)
                    struck = time.monotonic()
                process.wait(LONGEST)
            finally:
                process.kill()
                process.wait()
            ended = time.monotonic()
            output.seek(0)
            text = output.read()
        assert process.returncode == code, text
        return Done(root, text, ended - begun, ended - struck)

    def _is(self, root: Path, phase: Phase) -> bool:
        return Phase.of(root) == phase and (phase is not Phase.CHECKING or bool(self._workers()))

    def _workers(self) -> list[int]:
        """Those at work, on nodes other than the head."""
        found = [each for node in (2, 3) for each in self.nodes.processes(node)]
        return [each for each in found if "/check pictures" in command_of(each)] or [
            each for each in found if "/write shards" in command_of(each)
        ]

    def _strike(self, victim: Victim) -> None:
        node = random.choice((2, 3))
        if victim is Victim.WORKER:
            deadline = time.monotonic() + 20
            while not (workers := self._workers()) and time.monotonic() < deadline:
                time.sleep(POLL / 10)
            if not workers:
                raise TooLateError
            os.kill(random.choice(workers), signal.SIGKILL)
        elif victim is Victim.NODE:
            self.nodes.kill(node)
        else:
            self.nodes.cut(node)

    def _command(self, root: Path, settings: dict[str, object]) -> list[str]:
        everything = {
            "catalog.path": self._data / "labels.csv",
            "shards.images_per_shard": self._images_per_shard,
            "labels.minimum_count": 1,
            **settings,
        }
        command = [str(BIN / "manylabel"), "preprocess", "demo", "--output", str(root)]
        for key, value in everything.items():
            command += ["--set", f"preprocessing.{key}={value}"]
        return command


def same(done: Done, other: Path) -> None:
    """Raises AssertionError unless the bytes are the same and every image is accounted for."""
    ours, theirs = contents(done.root), contents(other)
    different = {name for name, _ in ours.items() ^ theirs.items()}
    assert not different, sorted(different)
    counts = Dataset.open(done.root).manifest.counts
    assert counts.listed == counts.written + counts.rejected + counts.duplicates > 0


def _disturbed(cluster: Cluster, root: Path, victim: Victim, phase: Phase) -> tuple[Stroke, Done]:
    """A job that was struck at a moment of the phase: another one, where that came too late."""
    while True:
        stroke = Stroke(victim, phase, random.uniform(0, 1.5))
        try:
            return stroke, cluster.run(root, [stroke])
        except TooLateError:
            print(f"{victim}, {stroke.seconds:.1f} s into {phase}: too late", flush=True)
            shutil.rmtree(root)


def main() -> None:
    """The recorded run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--cables", type=int, default=1)
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    folder = Path("/tmp/mlt3")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    make_catalog(folder / "data", arguments.pictures)
    with RayNodes(folder, network=3) as nodes:
        cluster = Cluster(nodes, folder, images_per_shard=16)
        quiet = cluster.run(folder / "quiet")
        same(quiet, cluster.inline())
        print(f"undisturbed: {quiet.seconds:.1f} s", flush=True)
        victims = [Victim.WORKER] * arguments.workers + [Victim.NODE] * arguments.nodes
        phases = (Phase.CHECKING, Phase.WRITING)
        for number, victim in enumerate(victims + [Victim.CABLE] * arguments.cables):
            stroke, done = _disturbed(cluster, folder / f"run-{number}", victim, phases[number % 2])
            same(done, cluster.inline())
            told = f"{victim}, {stroke.seconds:.1f} s into {stroke.phase}"
            print(f"{told}: the same, {done.after:.1f} s later", flush=True)
            shutil.rmtree(done.root)
            if victim is Victim.NODE:
                nodes.mend()


if __name__ == "__main__":
    main()
