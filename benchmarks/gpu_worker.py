"""Claim: on a GPU, a worker's loop keeps at least 0.90 of a bare Keras loop's speed in float32
without XLA. With it, and of the whole system, the ratios are told, and nothing claimed.

Full Xception at 299 px, 1,000 classes. Peer: model.train_on_batch with Keras' RMSprop (momentum,
EMA) on a batch in memory, XLA on or off as with us. `loop` puts weights into the model and takes
the gradient out, as a worker does at each step, with nobody beside it; `input` reads and decodes
pictures, which the system cannot outrun; `system` is a training with parameter shards.

    python benchmarks/gpu_worker.py [--cases 64:float32:eager 64:mixed_bfloat16 ...]

A case is a batch size and a precision, and ":eager" for no XLA. Compiling takes a minute or two of
each side. Each runs in a process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":  # Beside the modules that it imports, wherever it is started from.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._gpu import CLASSES, a_batch, gpu_is_here
from benchmarks._made_up_photos import write_photos
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.job import train
from manylabel.trainer.program.memory import malloc_environment
from manylabel.trainer.runs.metrics_log import read_metrics

SIDES = ("keras", "loop", "input", "system")
CLAIMED = "64:float32:eager"
CLAIM = 0.90
CASES = (CLAIMED, "64:mixed_bfloat16")
PICTURES = 200
SHARDS = 4
STEPS, WARM_UP = 20, 5
UPDATES_PER_ROW, ROWS, WARM_UP_ROWS = 10, 6, 2


def settings(case: str, size: int, **others: Any) -> TrainerConfig:
    """Of a case."""
    batch, precision, *_ = case.split(":")
    tree = {
        "model": {"input_size": size, "batch_norm_momentum": 0.99},
        "input": {"batch_size": int(batch), "augmentation": {"view": {"name": "shift"}}},
        "precision": precision,
        "jit_compile": "eager" not in case,
        "checkpoints": {"every_samples": 10**9},
        "topology": {"parameter_shards": SHARDS},
        "updates_per_metrics_row": UPDATES_PER_ROW,
        **others,
    }
    return TrainerConfig.model_validate(tree)


def prepare(config: TrainerConfig) -> None:
    """As a worker prepares its process."""
    from manylabel.trainer.program.device import configure_device

    configure_device(len(os.sched_getaffinity(0)), config.precision)


def make_dataset(folder: Path) -> Path:
    """Photographs larger than the network's input, so that decoding costs what it does."""
    catalog = write_photos(folder / "photos", PICTURES)
    tree = {"catalog": {"path": str(catalog)}, "images": {"short_side_limit": 320}}
    preprocess(PreprocessingConfig.model_validate(tree), str(folder / "dataset"))
    return folder / "dataset"


def steps_a_second(step: Callable[[], object], steps: int = STEPS) -> float:
    """The median, from when it has been traced and compiled."""
    seconds = []
    for _ in range(WARM_UP + steps):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return 1 / statistics.median(seconds[WARM_UP:])


def keras_side(case: str, size: int) -> dict[str, float]:
    """A bare loop; its targets are dense, as Keras' loss wants them."""
    import keras
    import tensorflow as tf

    from manylabel.trainer.networks.build import build_model

    config = settings(case, size)
    prepare(config)
    model = build_model(config.model, CLASSES)
    model.compile(
        optimizer=keras.optimizers.RMSprop(
            1e-3, rho=0.9, momentum=0.9, epsilon=1.0, use_ema=True, ema_momentum=0.9999
        ),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=bool(config.jit_compile),
    )
    images, labels = a_batch(config.input.batch_size, size)
    targets = np.zeros((len(images), CLASSES), np.float32)
    targets[labels.row_ids.numpy(), labels.class_ids.numpy()] = 1
    rate = steps_a_second(lambda: model.train_on_batch(images, targets))
    return {"images_per_second": rate * len(images), **_peak(tf)}


def loop_side(case: str, size: int) -> dict[str, float]:
    """What a worker does between fetching weights and pushing a gradient, and its parts in ms."""
    import tensorflow as tf

    from manylabel.trainer.networks.build import build_model
    from manylabel.trainer.networks.losses import label_loss
    from manylabel.trainer.networks.replica import ModelReplica
    from manylabel.trainer.plane.layout import ParameterLayout, cut

    config = settings(case, size)
    prepare(config)
    model = build_model(config.model, CLASSES)
    layout = ParameterLayout.of(model)
    replica = ModelReplica(
        model,
        layout,
        partial(label_loss, config=config.loss),
        SHARDS,
        config.model.batch_norm_momentum,
        compiled_batch_size=config.input.batch_size if config.jit_compile else None,
    )
    cuts = [
        [vector[start:stop] for start, stop in cut(len(vector), SHARDS)]
        for vector in layout.read(model)
    ]
    weights = list(zip(*cuts, strict=True))
    images, labels = a_batch(config.input.batch_size, size)

    def step() -> None:
        replica.load(weights)
        replica.gradient(images, labels)

    began = time.perf_counter()
    step()
    first = time.perf_counter() - began
    rate = steps_a_second(step)
    load = steps_a_second(lambda: replica.load(weights))
    both = steps_a_second(lambda: replica.gradient(images, labels))
    return {
        "images_per_second": rate * len(images),
        "first_seconds": first,
        "load_ms": 1000 / load,
        "gradient_ms": 1000 / both,
        **_peak(tf),
    }


def _peak(tf: Any) -> dict[str, float]:
    if not tf.config.list_physical_devices("GPU"):
        return {}
    return {"peak_gpu_mib": tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20}


def input_side(case: str, size: int, dataset_root: Path) -> dict[str, float]:
    """Batches of the input pipeline that nobody computes on."""
    config = settings(case, size)
    prepare(config)
    batches = _batches(config, dataset_root)
    rate = steps_a_second(lambda: next(batches), 20)
    return {"images_per_second": rate * config.input.batch_size}


def _batches(config: TrainerConfig, dataset_root: Path) -> Iterator[Any]:
    from manylabel.trainer.program.plan import record_order
    from manylabel.trainer.records.batches import training_batches

    dataset = Dataset.open(dataset_root)
    return training_batches(
        [(0, 10**9)],
        record_order(dataset, config.input),
        dataset,
        config.input,
        config.model.input_size,
        lambda record: None,
    )


def system_side(case: str, size: int, dataset: Path, workers: int) -> dict[str, float]:
    """A training; its rows after the warm-up, and how stale the workers' gradients were."""
    records = Dataset.open(dataset).records(SplitName.TRAIN)
    updates = UPDATES_PER_ROW * (WARM_UP_ROWS + ROWS) * workers
    topology: dict[str, float] = {"parameter_shards": SHARDS, "workers": workers}
    if workers > 1:
        topology["gpus_per_worker"] = 1 / workers
    config = settings(
        case, size, topology=topology, epochs=updates * int(case.split(":")[0]) / records
    )
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        began = time.monotonic()
        train(config, dataset, run)
        seconds = time.monotonic() - began
        rows = read_metrics(run)
    rows = rows[-ROWS * workers :]
    return {
        "images_per_second": statistics.median(row.images_per_second for row in rows),
        "staleness": statistics.mean(row.staleness for row in rows),
        "max_staleness": max(row.max_staleness for row in rows),
        "loss": rows[-1].loss,
        "seconds": seconds,
    }


def _answer(side: str, case: str, size: int, dataset: Path, workers: int) -> dict[str, float]:
    match side:
        case "keras":
            return keras_side(case, size)
        case "loop":
            return loop_side(case, size)
        case "input":
            return input_side(case, size, dataset)
    return system_side(case, size, dataset, workers)


def _in_a_fresh_process(side: str, case: str, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side, "--cases", case]
    command += ["--size", str(arguments.size), "--dataset", str(arguments.dataset)]
    command += ["--workers", str(arguments.workers)]
    environment = {**os.environ, **malloc_environment()}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(case: str, arguments: argparse.Namespace) -> float | None:
    """Prints a line for each side and the ratios; the loop's to Keras, if both were measured."""
    rates = {}
    for side in arguments.sides:
        found = _in_a_fresh_process(side, case, arguments)
        rates[side] = found["images_per_second"]
        told = {name: round(value, 2) for name, value in found.items()}
        print(json.dumps({"case": case, "side": side, **told}), flush=True)
    if "keras" not in rates:
        return None
    ratios = {side: rate / rates["keras"] for side, rate in rates.items()}
    print(case, ", ".join(f"{side} {ratio:.3f} of keras" for side, ratio in ratios.items()))
    return ratios.get("loop")


def main() -> None:
    """Prints figures; ends with 1 when the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, help="of pictures at least as large as --size")
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--size", type=int, default=299, help="pixels")
    parser.add_argument("--workers", type=int, default=1, help="of the system, on one GPU")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        case, dataset = arguments.cases[0], arguments.dataset
        found = _answer(arguments.side, case, arguments.size, dataset, arguments.workers)
        print(json.dumps(found))
    elif gpu_is_here():
        with tempfile.TemporaryDirectory() as folder:
            arguments.dataset = arguments.dataset or make_dataset(Path(folder))
            ratios = {case: compare(case, arguments) for case in arguments.cases}
        ratio = ratios.get(CLAIMED)
        sys.exit(ratio is not None and ratio < CLAIM)


if __name__ == "__main__":
    main()
