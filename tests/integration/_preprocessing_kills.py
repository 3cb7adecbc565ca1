"""Preprocessing whose processes are killed, by the command that users type.

    python -m tests.integration._preprocessing_kills [--moments 10] [--pictures 5303] [--seed 0]

At as many random moments of each phase, on our pictures: a process of the executor, a Ray worker,
and the job itself, after which the same command is given again. Each time the job must come to its
end with the bytes of one that nobody disturbed. And a picture that ends whichever process opens it
is rejected by name. Prints a line for each job, in about 20 minutes on two cores;
test_preprocessing_kills.py does a few of them.
"""

import argparse
import csv
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Self

from manylabel.pipeline.config import load_settings
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.rejections import RejectReason
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import read_table
from tests.integration._deadly_picture import DeadlyPicture
from tests.integration._processes import command_of, descendants, is_running

OPENCLIPART = Path(__file__).resolve().parents[2] / "examples" / "openclipart"
LONGEST = 120.0  # seconds that a job may take
ENDING = 10.0  # seconds in which its processes end after it was killed
POLL = 0.002  # seconds

_WORKERS = {
    "processes": re.compile(r".*\bserve\(.manylabel\.preprocessing\.executors\.worker\b.*"),
    "ray": re.compile(r"ray::[a-z_]+"),  # at work: others are ray::IDLE, or agents
}
_AGENTS = re.compile(r"ray::(DashboardAgent|RuntimeEnvAgent)")
"""They end by themselves 60 seconds after a node that was killed (Ray 2.60, measured)."""


class Victim(StrEnum):
    """Who is killed."""

    WORKER = "a worker"
    JOB = "the job"


class Phase(StrEnum):
    """When: until the facts of all pictures are kept, until the first shard is begun, and then."""

    CHECKING = "checking"
    PLANNING = "planning"
    WRITING = "writing"
    OVER = "the end"

    @classmethod
    def of(cls, output: Path) -> Self:
        """As the files of a dataset say, of fewer pictures than checking keeps at a time."""
        for path, phase in (
            ("manifest.json", cls.OVER),
            ("train", cls.WRITING),
            ("plan/checked", cls.PLANNING),
        ):
            if (output / path).exists():
                return phase
        return cls.CHECKING


AT = {
    Victim.WORKER: (Phase.CHECKING, Phase.WRITING),
    Victim.JOB: (Phase.CHECKING, Phase.PLANNING, Phase.WRITING),
}
"""Between these two no worker has anything to do."""


@dataclass(frozen=True)
class Kill:
    """`moment` is a share of what the phase takes undisturbed, once workers are there."""

    victim: Victim
    phase: Phase
    moment: float

    def __str__(self) -> str:
        return f"{self.victim} at {self.moment:.0%} of {self.phase}"


@dataclass(frozen=True)
class Job:
    """A command on `labels.csv` in `folder`."""

    folder: Path
    executor: str
    images_per_shard: int

    def overrides(self, executor: str) -> list[str]:
        """Of the demo's settings."""
        settings: dict[str, object] = {
            "catalog.path": self.folder / "labels.csv",
            "executor": executor,
            "shards.images_per_shard": self.images_per_shard,
            "labels.minimum_count": 1,
        }
        if executor == "processes":
            settings["runner.processes"] = 2
        return [f"preprocessing.{key}={value}" for key, value in settings.items()]

    @contextmanager
    def started(self, output: Path) -> Iterator[subprocess.Popen[bytes]]:
        """The command at work; what is left of it in the end is killed."""
        command = [str(Path(sys.executable).with_name("manylabel")), "preprocess", "demo"]
        command += ["--output", str(output)]
        command += [part for text in self.overrides(self.executor) for part in ("--set", text)]
        with (
            output.with_suffix(".log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder) as process,
        ):
            try:
                yield process
            finally:
                kill_whole(process)

    def finish(self, process: subprocess.Popen[bytes], output: Path) -> None:
        """Waits for its end, which must be a good one."""
        code = process.wait(LONGEST)
        assert code == 0, output.with_suffix(".log").read_text("utf-8", "replace")

    def has_begun(self, phase: Phase, process: subprocess.Popen[bytes], output: Path) -> bool:
        """Checking begins when there are workers."""
        there = phase is not Phase.CHECKING or bool(self.workers(process))
        return Phase.of(output) is phase and there

    def workers(self, process: subprocess.Popen[bytes]) -> list[int]:
        """Processes of its executor."""
        own = _WORKERS[self.executor]
        return [each for each in descendants(process.pid) if own.fullmatch(command_of(each))]


@dataclass(frozen=True)
class Undisturbed:
    """A job that came to its end by itself: how long its phases took, and what it wrote."""

    seconds: dict[Phase, float]
    contents: dict[str, str]

    @classmethod
    def run(cls, job: Job, output: Path) -> Self:
        """Runs the job."""
        begun: dict[Phase, float] = {}
        with job.started(output) as process:
            for phase in Phase:
                until(process, partial(job.has_begun, phase, process, output))
                begun[phase] = time.monotonic()
            job.finish(process, output)
        seconds = {phase: begun[after] - begun[phase] for phase, after in pairwise(Phase)}
        return cls(seconds, contents(output))


def disturb(
    job: Job, output: Path, kills: Sequence[Kill], undisturbed: Undisturbed
) -> Iterator[str]:
    """Gives the command, again after each kill of the job, until it ends; tells of each kill.

    Raises:
        AssertionError: it ended badly, or wrote something else, or lost an image.
    """
    waiting = list(kills)
    while True:
        with job.started(output) as process:
            while waiting:
                kill = waiting.pop(0)
                yield f"{kill}{_strike(job, process, output, kill, undisturbed)}"
                if kill.victim is Victim.JOB:
                    break
            else:
                job.finish(process, output)
                break
    different = {name for name, _ in contents(output).items() ^ undisturbed.contents.items()}
    assert not different, sorted(different)
    counts = Dataset.open(output).manifest.counts
    assert counts.listed == counts.written + counts.rejected + counts.duplicates == listed(job)


def _strike(
    job: Job, process: subprocess.Popen[bytes], output: Path, kill: Kill, undisturbed: Undisturbed
) -> str:
    """Waits for its moment and kills; what was otherwise than wanted."""
    until(process, partial(job.has_begun, kill.phase, process, output))
    until(process, lambda: False, kill.moment * undisturbed.seconds[kill.phase])
    phase = Phase.of(output)
    if kill.victim is Victim.JOB:
        had_ended = process.poll() is not None
        kill_whole(process)
    else:
        until(process, lambda: bool(job.workers(process)))
        workers = job.workers(process)
        had_ended = not workers
        if workers:
            os.kill(random.choice(workers), signal.SIGKILL)
    if had_ended:
        return " (too late)"
    return "" if phase is kill.phase else f" (late, while {phase})"


def until(
    process: subprocess.Popen[bytes], condition: Callable[[], bool], seconds: float = LONGEST
) -> None:
    """Waits for a condition, the end of the process, or that the seconds are over."""
    end = time.monotonic() + seconds
    while process.poll() is None and not condition() and time.monotonic() < end:
        time.sleep(POLL)


def kill_whole(process: subprocess.Popen[bytes]) -> None:
    """Kills a job, if it has not ended; nothing that it started may outlive it for long."""
    started = [each for each in descendants(process.pid) if not _AGENTS.match(command_of(each))]
    process.kill()
    process.wait()
    end = time.monotonic() + ENDING
    while left := [each for each in started if is_running(each)]:
        assert time.monotonic() < end, [command_of(each) for each in left]
        time.sleep(POLL)


def contents(output: Path) -> dict[str, str]:
    """Digests of a dataset's files, but for what an interrupted job keeps for the next, and what
    is told of jobs."""
    digests = {}
    for path in output.rglob("*"):
        name = str(path.relative_to(output))
        if path.is_file() and not name.startswith(("plan/checked", "jobs/")):
            # The code may get another commit during the recorded run.
            data = re.sub(rb'"code_version": "[^"]*"', b"", path.read_bytes())
            digests[name] = hashlib.sha256(data).hexdigest()
    return digests


def rejects_deadly_picture(job: Job, picture: str, output: Path, without: Path) -> int:
    """Runs a job with a picture that kills, and one without it; how many processes died of it.

    Raises:
        AssertionError: it was not rejected by name, or something else became of the others.
    """
    deadly = DeadlyPicture(job.folder / picture)
    with deadly.lying_in_wait(), job.started(output) as process:
        job.finish(process, output)
    rows = {row["image_id"]: row for row in read_table(output / "rejected.parquet").to_pylist()}
    assert rows[picture]["reason"] == RejectReason.ENDED_PROCESS
    assert "ended three times" in rows[picture]["detail"]
    catalog = job.folder / "labels.csv"
    lines = catalog.read_text("utf-8").splitlines(keepends=True)
    catalog.write_text("".join(line for line in lines if picture not in line), "utf-8")
    preprocess(load_settings("demo", job.overrides("inline")).preprocessing, str(without))
    for split in SplitName:
        assert contents(output / split) == contents(without / split) != {}
    return deadly.deaths


def make_catalog(folder: Path, pictures: int) -> list[str]:
    """Our first pictures, copied to `folder`, one of them twice, and one that is none."""
    with (OPENCLIPART / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = list(dict.fromkeys(row["image_path"] for row in rows))[:pictures]
    for path in chosen:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(OPENCLIPART / path, folder / path)
    shutil.copyfile(folder / chosen[0], folder / "again.jpg")
    (folder / "none.jpg").write_text("no picture")
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if row["image_path"] in set(chosen))
        writer.writerows(rows[0] | {"image_path": name} for name in ("again.jpg", "none.jpg"))
    return chosen


def listed(job: Job) -> int:
    """Images in the catalog."""
    with (job.folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return len({row["image_path"] for row in csv.DictReader(file)})


def main() -> None:
    """The recorded run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=5303)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = make_catalog(folder, arguments.pictures)
        for executor in _WORKERS:
            job = Job(folder, executor, images_per_shard=64)
            undisturbed = Undisturbed.run(job, folder / executor)
            spans = ", ".join(
                f"{phase} {span:.1f} s" for phase, span in undisturbed.seconds.items()
            )
            print(f"{executor}, undisturbed: {spans}", flush=True)
            for victim in Victim:
                for number in range(arguments.moments):
                    kills = [Kill(victim, phase, random.random()) for phase in AT[victim]]
                    output = folder / f"{executor}-{victim.name}-{number}"
                    told = "; ".join(disturb(job, output, kills, undisturbed))
                    print(f"{executor}: {told}: the same dataset", flush=True)
                    shutil.rmtree(output)
        for executor in _WORKERS:
            job = Job(folder, executor, images_per_shard=64)
            deaths = rejects_deadly_picture(job, chosen.pop(), folder / "with", folder / "without")
            print(f"{executor}: a picture that ended {deaths} processes was rejected", flush=True)
            shutil.rmtree(folder / "with")
            shutil.rmtree(folder / "without")


if __name__ == "__main__":
    main()
