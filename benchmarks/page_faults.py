"""Claim: a worker started with our malloc settings computes at least as many images a second with
a network that is large, and 1.3 times as many with one that is mostly classifier.

The worker is the product's, in a process of its own, with real batches; in place of the parameter
shards it is given the same weights each time, so that only its own work is measured. Two networks:
the paper's Xception at 96 px with 1,000 labels, batch 32; and one eighth of its width at 64 px with
17,000 labels, batch 64. With and without the settings are measured in turn; figures are medians.

    python benchmarks/page_faults.py [--rounds 3]

Beside images a second: page faults and CPU seconds an update, and the process' largest size. Ends
with 1 when the claim does not hold.
"""

import argparse
import csv
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.storage.dataset import Dataset
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.plane.optimizers import FloatVector
from manylabel.trainer.plane.protocols import Answers, GradientReport, Snapshot
from manylabel.trainer.plane.shard import UpdateId
from manylabel.trainer.program.initial_state import make_initial_checkpoint
from manylabel.trainer.program.memory import malloc_environment
from manylabel.trainer.program.plan import TrainingPlan
from manylabel.trainer.records.reader import BadRecordReport
from manylabel.trainer.runs.checkpoint import checkpoint_path, load_shard

PICTURES = Path(__file__).resolve().parent.parent / "examples" / "openclipart"
PICTURES_USED = 1_300
PICTURES_OF_A_LABEL = 3  # 17,000 labels: 39 a picture; the paper's images have 36.5


class Case(NamedTuple):
    """A network and how long it is measured.

    Attributes:
        claim: times as many images a second, at least.
    """

    labels: int
    width: float
    input_size: int
    batch_size: int
    warm_up: int  # updates
    updates: int
    claim: float


CASES = {
    "full": Case(1_000, 1.0, 96, 32, warm_up=3, updates=6, claim=1.0),
    "small": Case(17_000, 0.125, 64, 64, warm_up=5, updates=40, claim=1.3),
}
SIDES = ("without", "with")


class Measured(NamedTuple):
    """Of one process."""

    images_per_second: float
    faults: float  # an update
    cpu_seconds: float  # an update, user and system
    largest_mib: float


class FixedPlane:
    """The parameter plane as the worker sees it, without an update ever applied."""

    def __init__(self, weights: Sequence[tuple[FloatVector, FloatVector]], batch_size: int) -> None:
        self._snapshot = Snapshot(0, weights)
        self._leases = ((n, n + batch_size) for n in itertools.count(step=batch_size))

    def stage(
        self, update: UpdateId, gradient: Sequence[FloatVector], statistics: Sequence[FloatVector]
    ) -> Answers:
        """See `WorkerShards.stage`."""
        return [1.0 for _ in gradient]

    def fetch(self, snapshot: Snapshot) -> list[tuple[FloatVector, FloatVector]]:
        """See `WorkerShards.fetch`."""
        return list(snapshot.answers)

    def lease(self, worker: str) -> tuple[int, int]:
        """See `WorkerCoordinator.lease`."""
        return next(self._leases)

    def snapshot(self, worker: str) -> Snapshot:
        """See `WorkerCoordinator.snapshot`."""
        return self._snapshot

    def commit(self, report: GradientReport, squares: Answers) -> Snapshot:
        """See `WorkerCoordinator.commit`."""
        return self._snapshot

    def report_bad_record(self, worker: str, record: BadRecordReport) -> None:
        """See `WorkerCoordinator.report_bad_record`."""
        raise RuntimeError(f"expected sound records only, received {record}")


def settings(case: Case) -> TrainerConfig:
    """Settings of both sides."""
    return TrainerConfig.model_validate(
        {
            "model": {"input_size": case.input_size, "width": case.width},
            "input": {
                "batch_size": case.batch_size,
                "augmentation": {"view": {"name": "shift"}},
            },
            "epochs": 1_000,
        }
    )


def make_dataset(folder: Path, labels: int) -> Path:
    """The project's pictures, each label dealt to a few of them."""
    with (PICTURES / "labels.csv").open(encoding="utf-8", newline="") as file:
        pictures = list(dict.fromkeys(row["image_path"] for row in csv.DictReader(file)))
    dealt = itertools.cycle(pictures[:PICTURES_USED])
    catalog = folder.with_suffix(".csv")
    with catalog.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image_path", "label"])
        rows.writerows(
            [next(dealt), f"label {n % labels}"] for n in range(labels * PICTURES_OF_A_LABEL)
        )
    config = PreprocessingConfig.model_validate(
        {
            "catalog": {
                "path": str(catalog),
                "image_root": str(PICTURES),
                "confidence_column": None,
            },
            "images": {"short_side_limit": 112},
            "labels": {"minimum_count": 1},
        }
    )
    preprocess(config, str(folder))
    return folder


def measure(case: Case, dataset: Path, run: Path) -> Measured:
    """Runs the worker in this process."""
    from manylabel.trainer.program.device import configure_device

    config = settings(case)
    configure_device(len(os.sched_getaffinity(0)), config.precision)
    checkpoint = checkpoint_path(run, 0)
    state = load_shard(checkpoint, 0, 1)
    plane = FixedPlane([(state.weights, state.statistics)], case.batch_size)
    plan = TrainingPlan.from_checkpoint(config, str(dataset), run, checkpoint)
    worker = plan.new_worker("worker-0", plane, plane)
    for _ in range(case.warm_up):  # tracing; memory that was never used before
        worker.step()
    seconds = []
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(case.updates):
        began = time.monotonic()
        worker.step()
        seconds.append(time.monotonic() - began)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(
        case.batch_size / statistics.median(seconds),
        (after.ru_minflt - before.ru_minflt) / case.updates,
        cpu / case.updates,
        after.ru_maxrss / 1024,
    )


def _in_a_fresh_process(network: str, side: str, folder: Path) -> Measured:
    command = [sys.executable, __file__, "--network", network, "--folder", str(folder)]
    environment = {**os.environ, **(malloc_environment() if side == "with" else {})}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return Measured(*json.loads(done.stdout.splitlines()[-1]))


def _report(name: str, measured: Sequence[Measured]) -> Measured:
    median = Measured(*map(statistics.median, zip(*measured, strict=True)))
    print(
        f"  {name}: {median.images_per_second:.1f} images/s, {median.cpu_seconds:.2f} s of CPU and "
        f"{median.faults:,.0f} page faults an update, {median.largest_mib:,.0f} MiB at most",
        flush=True,
    )
    return median


def compare(network: str, folder: Path, rounds: int) -> bool:
    """Measures both sides in turn and prints them; whether the claim holds."""
    case = CASES[network]
    dataset = make_dataset(folder / "dataset", case.labels)
    make_initial_checkpoint(folder / "run", Dataset.open(dataset), settings(case))
    measured: dict[str, list[Measured]] = {side: [] for side in SIDES}
    for round_ in range(rounds):
        for side in SIDES:
            measured[side].append(_in_a_fresh_process(network, side, folder))
        speeds = ", ".join(f"{side} {measured[side][-1].images_per_second:.1f}" for side in SIDES)
        print(f"{network}, round {round_ + 1}: {speeds} images/s", flush=True)
    without, with_ = (_report(side, measured[side]) for side in SIDES)
    ratio = with_.images_per_second / without.images_per_second
    print(f"  {network}: ratio {ratio:.2f}, expected at least {case.claim}", flush=True)
    return ratio >= case.claim


def main() -> None:
    """Compares both networks; ends with 1 when a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.network:
        folder = arguments.folder
        print(json.dumps(measure(CASES[arguments.network], folder / "dataset", folder / "run")))
        return
    holds = []
    for network in CASES:
        with tempfile.TemporaryDirectory() as folder:
            holds.append(compare(network, Path(folder), arguments.rounds))
    sys.exit(not all(holds))


if __name__ == "__main__":
    main()
