"""Claim: one worker through the whole system keeps at least 0.90 of a bare Keras loop's speed.

Full Xception at 96 px, batch 32, one worker, a parameter shard for each core. Peer:
model.train_on_batch with Keras' RMSprop (momentum, EMA) on the same batches from the same input
pipeline, in float32 on the same cores. They are measured in turn, several times; the figure is the
ratio of the medians.

    python benchmarks/worker_overhead.py [--rounds 3]

What the system does on top: pack gradients, move them to the shard's process, apply L2, RMSprop and
the average there, publish the weights, unpack them, count records. What it saves: Keras' own
optimizer and EMA, variable by variable. XLA is off for both, since on a CPU it makes Xception
several times slower.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.job import train
from manylabel.trainer.program.memory import malloc_environment
from manylabel.trainer.runs.metrics_log import read_metrics

CATALOG = Path(__file__).resolve().parent.parent / "examples" / "openclipart" / "labels.csv"
SIDES = ("keras", "system")
UPDATES_PER_ROW = 4
WARM_UP_ROWS = 2  # tracing, and object store pages that were never touched
ROWS = 4


def settings(records: int) -> TrainerConfig:
    """Settings of both sides."""
    updates = UPDATES_PER_ROW * (WARM_UP_ROWS + ROWS)
    return TrainerConfig.model_validate(
        {
            "model": {"input_size": 96},
            "input": {"batch_size": 32, "augmentation": {"view": {"name": "shift"}}},
            "epochs": updates * 32 / records,
            "checkpoints": {"every_samples": 10**9},
            # So that an update uses all cores, as Keras' own does.
            "topology": {"parameter_shards": len(os.sched_getaffinity(0))},
            "updates_per_metrics_row": UPDATES_PER_ROW,
        }
    )


def make_dataset(folder: Path) -> Path:
    """The project's pictures at a size that gives both sides the same decoding work."""
    config = PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(CATALOG)},
            "images": {"short_side_limit": 112},
            "labels": {"minimum_count": 10},
        }
    )
    preprocess(config, str(folder))
    return folder


def system_speed(dataset: Path, run: Path) -> float:
    """Images a second of one worker, the median over rows of updates."""
    config = settings(Dataset.open(dataset).records(SplitName.TRAIN))
    train(config, dataset, run)
    rows = read_metrics(run)[WARM_UP_ROWS:]
    return statistics.median(row.images_per_second for row in rows)


def keras_speed(dataset_root: Path) -> float:
    """Images a second of train_on_batch, the median over rows of as many batches."""
    import keras
    import numpy as np

    from manylabel.trainer.networks.build import build_model
    from manylabel.trainer.program.device import configure_device
    from manylabel.trainer.program.plan import record_order
    from manylabel.trainer.records.batches import training_batches

    dataset = Dataset.open(dataset_root)
    config = settings(dataset.records(SplitName.TRAIN))
    configure_device(len(os.sched_getaffinity(0)), config.precision)
    model = build_model(config.model, dataset.num_classes)
    model.compile(
        optimizer=keras.optimizers.RMSprop(
            1e-3, rho=0.9, momentum=0.9, epsilon=1.0, use_ema=True, ema_momentum=0.9999
        ),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False,
    )
    batches = training_batches(
        [(0, 32 * UPDATES_PER_ROW * (WARM_UP_ROWS + ROWS))],
        record_order(dataset, config.input),
        dataset,
        config.input,
        config.model.input_size,
        lambda record: None,
    )
    speeds = []
    began = time.monotonic()
    for count, (images, labels, _) in enumerate(batches, start=1):
        targets = np.zeros((len(images), dataset.num_classes), np.float32)
        targets[labels.row_ids.numpy(), labels.class_ids.numpy()] = labels.confidences.numpy()
        model.train_on_batch(images, targets)
        if count % UPDATES_PER_ROW == 0:
            now = time.monotonic()
            speeds.append(UPDATES_PER_ROW * 32 / (now - began))
            began = now
    return statistics.median(speeds[WARM_UP_ROWS:])


def _in_a_fresh_process(side: str, dataset: Path) -> float:
    """Neither side inherits the other's threads or memory; both compute with our malloc settings,
    which the system gives to its workers by itself."""
    command = [sys.executable, __file__, "--side", side, "--dataset", str(dataset)]
    environment = {**os.environ, **(malloc_environment() if side == "keras" else {})}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Runs the sides in turn and prints a line per round and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--dataset", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.side == "keras":
            print(keras_speed(arguments.dataset))
        elif arguments.side:
            print(system_speed(arguments.dataset, Path(folder) / "run"))
        else:
            dataset = make_dataset(Path(folder) / "dataset")
            speeds: dict[str, list[float]] = {side: [] for side in SIDES}
            for round_ in range(arguments.rounds):
                for side, measured in speeds.items():
                    measured.append(_in_a_fresh_process(side, dataset))
                last = ", ".join(f"{side} {measured[-1]:.1f}" for side, measured in speeds.items())
                print(f"round {round_ + 1}: {last} images/s", flush=True)
            keras_median, system_median = map(statistics.median, speeds.values())
            print(
                f"median: keras {keras_median:.1f}, system {system_median:.1f} images/s, "
                f"ratio {system_median / keras_median:.3f}"
            )


if __name__ == "__main__":
    main()
