"""What `model.initial_weights` names: a file of Keras, a checkpoint of ours, or a network of
keras.applications. What was taken of it is kept beside the run, in initial_weights.json."""

import contextlib
import hashlib
import io
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from numpy.typing import NDArray
from upath import UPath

from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import StorageError, described, reason_of
from manylabel.storage.locations import is_local
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import InitialWeightsError, TrainingError
from manylabel.trainer.networks.config import ModelConfig
from manylabel.trainer.networks.initial_weights import (
    StoredArray,
    StoredLayers,
    take_weights,
)
from manylabel.trainer.networks.keras_names import application, is_application_name
from manylabel.trainer.runs.checkpoint import (
    MANIFEST,
    CheckpointInfo,
    FlatWeights,
    describe_checkpoint,
    kept,
    list_checkpoints,
    load_weights,
)
from manylabel.trainer.runs.directory import (
    DESCRIPTION,
    InitialWeights,
    RunDescription,
    forget_initial_weights,
    open_run,
    read_labels,
)
from manylabel.trainer.runs.weight_files import weight_file

# What of a network no shape shows, and its weights have learnt with.
_WITHOUT_SHAPE = (
    "input_scale",
    "intermediate_activation",
    "fully_connected_activation",
    "batch_norm_epsilon",
    "padding",
    "stem_stride",
)
# WordNet ids, by which keras.applications' classifier has the classes of ILSVRC in order.
_IMAGENET_CLASS = re.compile(r"n\d{8}")
# A server that says nothing for so long is not there.
_SECONDS_OF_SILENCE = 30.0


@dataclass(frozen=True)
class _Source:
    """Stored weights while they can be read.

    Attributes:
        location: as errors name it, and the run keeps it.
        same_classes: False where its classes are known to be others than the dataset's.
    """

    location: str
    layers: StoredLayers
    same_classes: bool = True


@dataclass(frozen=True)
class _HeldArray:
    """An array in memory."""

    values: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def read(self) -> NDArray[np.float32]:
        return self.values


def begin_with_weights(model: Any, run: Path, dataset: Dataset, config: TrainerConfig) -> None:
    """Puts what `config.model.initial_weights` names into a new model, and writes down what was
    taken; of an earlier start that never began, nothing is left.

    Raises:
        InitialWeightsError: it does not fit, or cannot be read.
        TrainingError: the checkpoint that it names is damaged.
    """
    forget_initial_weights(run)
    if config.model.initial_weights is None:
        return
    with _source(config.model.initial_weights, dataset, config) as source:
        taken = take_weights(
            model,
            config.model,
            source.layers,
            f"trainer.model.initial_weights = {source.location}",
            same_classes=source.same_classes,
        )
    InitialWeights(
        location=source.location,
        digest=_digest(taken.arrays),
        variables=len(taken.arrays),
        values=sum(values.size for values in taken.arrays.values()),
        anew=taken.anew,
        unused=taken.unused,
    ).keep(run)


def _digest(arrays: Mapping[str, NDArray[np.float32]]) -> str:
    """SHA-256 over the variables by path: each path and shape, a zero byte, and the values, float32
    and little-endian. The shape says where the values end. The same for the same weights, whatever
    file they lay in."""
    total = hashlib.sha256()
    for path, values in sorted(arrays.items()):
        total.update(f"{path} {values.shape}\0".encode())
        total.update(np.ascontiguousarray(values, "<f4").tobytes())
    return total.hexdigest()


@contextmanager
def _source(location: str, dataset: Dataset, config: TrainerConfig) -> Iterator[_Source]:
    if is_application_name(location):
        yield _Source(location, _downloaded(location, config), _has_imagenet_classes(dataset))
        return
    path = _opened(location)
    if is_local(path) and path.is_dir():
        with _checkpoint(Path(path.path).absolute(), dataset, config.model) as source:
            yield source
        return
    with weight_file(path) as layers:
        yield _Source(str(path.absolute()) if is_local(path) else location, layers)


def _opened(location: str) -> UPath:
    setting = f"trainer.model.initial_weights = {location}"
    try:
        path = UPath(os.path.expanduser(location))
        if not is_local(path):
            fsspec.get_filesystem_class(path.protocol)  # imports what reads this kind of storage
    except Exception as error:  # Each kind has its own, also for a missing package.
        reason = described(error)[:200]
        raise InitialWeightsError(
            f"{setting}: expected a path or a URL, received one that cannot be opened ({reason}); "
            "write ./ before a path that looks like a URL"
        ) from error
    if is_local(path) and path.exists() and not (path.is_file() or path.is_dir()):
        raise InitialWeightsError(
            f"{setting}: expected a file, which can be read more than once, received a pipe or a "
            "device; write the weights to a file"
        )
    return path


@contextmanager
def _checkpoint(folder: Path, dataset: Dataset, model: ModelConfig) -> Iterator[_Source]:
    """A checkpoint, or the newest one of a run; its averaged weights, as evaluation takes them."""
    if (folder / MANIFEST).exists():
        found, run = [describe_checkpoint(folder)], folder.parent.parent
    else:
        found, run = list_checkpoints(folder)[-1:], folder
    with kept(found) as held:
        if not held:
            raise InitialWeightsError(
                f"trainer.model.initial_weights = {folder}: expected a checkpoint, a run that has "
                "one, or a .keras or .h5 file of Keras, received a folder without a checkpoint"
            )
        description = _description(run)
        if description is not None:
            _check_settings(held[0].path, description.trainer.model, model)
        weights = load_weights(held[0], averaged=True)
        same_classes = _same_classes(held[0], run, description, dataset)
        yield _Source(str(held[0].path), _layers_of(weights), same_classes)


def _description(run: Path) -> RunDescription | None:
    """None where nothing says what a checkpoint was made from."""
    if not (run / DESCRIPTION).exists():
        return None
    try:
        return open_run(run)
    except (StorageError, TrainingError):  # as if it were not there: the head starts anew
        return None


def _check_settings(checkpoint: Path, theirs: ModelConfig, ours: ModelConfig) -> None:
    """Of one network; another one's layers are told by what does not fit.

    Raises:
        InitialWeightsError: its weights have learnt with other settings that no shape shows.
    """
    if theirs.name != ours.name:
        return
    names = [name for name in _WITHOUT_SHAPE if hasattr(ours, name)]
    if not ours.fully_connected or theirs.fully_connected[:1] != ours.fully_connected[:1]:
        names.remove("fully_connected_activation")
    differing = [name for name in names if getattr(theirs, name) != getattr(ours, name)]
    if differing:
        expected, received = (
            ", ".join(f"{name}={getattr(model, name)}" for name in differing)
            for model in (ours, theirs)
        )
        raise InitialWeightsError(
            f"trainer.model.initial_weights = {checkpoint}: expected a {ours.name} of {expected}, "
            f"received one that was trained with {received}; set trainer.model to that, "
            "or leave initial_weights out"
        )


def _layers_of(weights: FlatWeights) -> StoredLayers:
    layers: dict[str, list[StoredArray]] = {}
    for slots, vector in (
        (weights.layout.parameters, weights.parameters),
        (weights.layout.statistics, weights.statistics),
    ):
        for slot in slots:
            values = vector[slot.offset : slot.stop].reshape(slot.shape)
            layers.setdefault(slot.path.split("/")[-2], []).append(_HeldArray(values))
    return layers


def _same_classes(
    checkpoint: CheckpointInfo, run: Path, description: RunDescription | None, dataset: Dataset
) -> bool:
    """Whether the classes are the dataset's, in its order; not where nothing says what they are.
    Class ids are never read against another label table."""
    if checkpoint.dataset_digest == dataset.content_digest:
        return True
    if description is None:
        return False
    try:
        theirs = read_labels(run, description)
    except (StorageError, TrainingError):  # the head starts anew, which is told
        return False
    return theirs.column("name").equals(dataset.labels().column("name"))


def _has_imagenet_classes(dataset: Dataset) -> bool:
    """Whether the labels can be ILSVRC's. A dataset's are sorted, as the classifier's are; its
    shape tells whether there are as many."""
    return all(map(_IMAGENET_CLASS.fullmatch, dataset.labels().column("name").to_pylist()))


def _downloaded(name: str, config: TrainerConfig) -> StoredLayers:
    """The ImageNet weights that keras.applications publishes."""
    import keras

    expected = application(config.model)
    if expected is None or name != expected.name:
        there = f"the name {expected.name} that keras.applications has for it" if expected else ""
        raise InitialWeightsError(
            f"trainer.model.initial_weights = {name:.60}: there is no such file or run; expected "
            f"weights of {config.model.name}: "
            f"{' or '.join(filter(None, (there, 'a file or checkpoint that is there')))}"
        )
    fed = getattr(config.model, "input_scale", expected.input_scale)
    if fed is not expected.input_scale:
        raise InitialWeightsError(
            f"trainer.model.initial_weights = {name}: these weights have learnt from images scaled "
            f"as trainer.model.input_scale={expected.input_scale} says, received {fed}; set that"
        )
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS_OF_SILENCE)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # its progress bar
            model = getattr(keras.applications, name)(weights="imagenet")
    except Exception as error:  # what Keras raises where it cannot download is a bare Exception
        folder = os.path.join(os.environ.get("KERAS_HOME", "~/.keras"), "models")
        raise InitialWeightsError(
            f"trainer.model.initial_weights = {name}: cannot be downloaded: "
            f"{reason_of(error)}; put the file into {folder} on this machine, or name "
            f"one made elsewhere by keras.applications.{name}().save_weights('x.weights.h5')"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    layers: dict[str, list[StoredArray]] = {}
    for variable in sorted(model.weights, key=lambda variable: not variable.trainable):
        values = np.asarray(variable.value, np.float32)
        layers.setdefault(variable.path.split("/")[-2], []).append(_HeldArray(values))
    return layers
