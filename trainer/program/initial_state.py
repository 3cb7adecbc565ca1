"""The state of a run before its first update, as a checkpoint of step 0.

Made in a process of its own: the job that starts and watches a run needs neither TensorFlow's
memory nor a place on the GPUs that it would take.
"""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName
from manylabel.storage.stacks import show_stacks_on_signal
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.networks.head_bias import initial_biases
from manylabel.trainer.networks.keras_names import is_application_name
from manylabel.trainer.networks.loss_config import UnknownKind
from manylabel.trainer.plane.layout import ParameterLayout, cut
from manylabel.trainer.plane.optimizers import DecayBlocks
from manylabel.trainer.plane.shard import ParameterShard, ShardState
from manylabel.trainer.program.in_process import LocalShards
from manylabel.trainer.program.plan import stream_identity
from manylabel.trainer.records.known_labels import count_known_labels
from manylabel.trainer.records.ledger import RecordLedger
from manylabel.trainer.runs.checkpoint import checkpoint_path
from manylabel.trainer.runs.writer import CheckpointWriter


def make_initial_checkpoint(run: Path, dataset: Dataset, config: TrainerConfig) -> Path:
    """As `write_initial_checkpoint`, in a new process that sees no GPU."""
    weights = config.model.initial_weights or ""
    with (
        _current_folder_off_path(),
        ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_be_quiet_on_the_cpu,
            initargs=(_downloads() if is_application_name(weights) else None,),
        ) as process,
    ):
        try:
            return process.submit(write_initial_checkpoint, run, dataset, config).result()
        except BrokenProcessPool as error:
            raise TrainingError(
                "the process that makes the first weights was ended: it had too little memory"
                + (f", or cannot read {weights}, which is damaged then" if weights else "")
            ) from error


@contextmanager
def _current_folder_off_path() -> Iterator[None]:
    """For processes that are started meanwhile. multiprocessing starts them with `python -c`, which
    would import a `random.py` of the user's current folder as Python's own."""
    name = "PYTHONSAFEPATH"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _downloads() -> Path:
    """Where Keras keeps weights that it downloads. Not ~/.keras: settings for Keras that lie there
    would hold for our networks."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(caches)) / "manylabel" / "keras"


def _be_quiet_on_the_cpu(downloads: Path | None) -> None:
    """Before TensorFlow loads. What goes wrong comes back as an exception; all else that it writes
    to standard error is about GPUs that are not wanted here."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if downloads is not None:
        os.environ["KERAS_HOME"] = str(downloads)
    show_stacks_on_signal(descriptor=os.dup(2))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def write_initial_checkpoint(run: Path, dataset: Dataset, config: TrainerConfig) -> Path:
    """Builds the model with random weights of `config.seed` and writes its state; the path.

    Its classifier's biases begin as `config.model.head_bias` says. Where there are
    `config.model.initial_weights`, they take the place of the random ones as far as they fit.

    Raises:
        InitialWeightsError: they do not fit, or cannot be read.
        CheckpointError: it cannot be written.
        DatasetError, TableError: the dataset's label table is not as its manifest says.
        TrainingError: unknown labels are to be ignored and no absence was verified.
    """
    import keras

    from manylabel.trainer.networks.build import (
        build_model,
        decayed_variables,
        depthwise_variables,
        set_head_biases,
    )
    from manylabel.trainer.program.initial_weights import begin_with_weights

    biases = _head_biases(dataset, config)
    keras.utils.set_random_seed(config.seed)
    model = build_model(config.model, dataset.num_classes)
    set_head_biases(model, biases)
    begin_with_weights(model, run, dataset, config)
    layout = ParameterLayout.of(model, decayed_variables(model), depthwise_variables(model))
    parameters, statistics = layout.read(model)
    count = config.topology.parameter_shards
    shards = LocalShards(
        [
            ParameterShard(
                ShardState.initial(parameters[slice(*p)], statistics[slice(*s)], config.optimizer),
                config.optimizer,
                DecayBlocks(0, [], 0.0),  # nothing is applied here
                config.model.batch_norm_momentum,
            )
            for p, s in zip(cut(len(parameters), count), cut(len(statistics), count), strict=True)
        ]
    )
    writer = CheckpointWriter(
        run, layout, stream_identity(dataset, config.input), shards, shard_count=count
    )
    writer.begin(0, 0, RecordLedger(total=0, lease_size=1).state())
    writer.poll(wait=True)
    return checkpoint_path(run, 0)


def _head_biases(dataset: Dataset, config: TrainerConfig) -> NDArray[np.float32]:
    if config.loss.unknown is UnknownKind.IGNORE:
        _, present, absent = count_known_labels(dataset)
    else:
        present = dataset.labels().column("train_count").to_numpy()
        absent = dataset.records(SplitName.TRAIN) - present
    return initial_biases(config.model.head_bias, config.loss.kind, present, absent)
