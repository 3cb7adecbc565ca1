"""The state of a run before its first update, as a checkpoint of step 0.

Made in a process of its own: the job that starts and watches a run needs neither TensorFlow's
memory nor a place on the GPUs that it would take.
"""

import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manylabel.storage.dataset import Dataset
from manylabel.storage.own_process import OwnProcess, describe_end, portable
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

_SECONDS_TO_END = 20.0  # of a process that let go of its connection; at once, unless it hangs


def make_initial_checkpoint(run: Path, dataset: Dataset, config: TrainerConfig) -> Path:
    """As `write_initial_checkpoint`, in a new process that sees no GPU."""
    weights = config.model.initial_weights or ""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    if is_application_name(weights):
        environment["KERAS_HOME"] = str(_downloads())
    with OwnProcess(__name__, environment) as process:
        process.send((run, dataset, config))
        try:
            answer: Path | Exception = process.connection.recv()
        except (EOFError, OSError) as error:
            raise TrainingError(_became_of(process.wait(_SECONDS_TO_END), weights)) from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def _became_of(code: int | None, weights: str) -> str:
    """What to tell of a process that answers no more.

    Args:
        code: as of `OwnProcess.wait`.
        weights: what it was to begin with, if anything.
    """
    maker = "the process that makes the first weights"
    if code is None:
        return f"{maker} hangs, and was ended; give the same command again"
    causes = [
        *(["it had too little memory"] if code == -signal.SIGKILL else []),
        *([f"it cannot read {weights}, which is damaged then"] if weights else []),
    ]
    cause = f": {', or '.join(causes)}" if causes else "; give the same command again"
    return f"{maker} was ended {describe_end(code)}{cause}"


def _downloads() -> Path:
    """Where Keras keeps weights that it downloads. Not ~/.keras: settings for Keras that lie there
    would hold for our networks."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(caches)) / "manylabel" / "keras"


def main(parent: Connection) -> None:
    """What that process does: answers with the path, or with what was raised instead."""
    # What goes wrong comes back as an exception; all else that TensorFlow writes to standard error
    # is about GPUs that are not wanted here.
    show_stacks_on_signal(descriptor=os.dup(2))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        answer: Path | Exception = write_initial_checkpoint(*parent.recv())
    except Exception as error:
        answer = portable(error)
    parent.send(answer)


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
