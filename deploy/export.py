"""A trained run as files that need nothing of this project.

<output>/1/               encoded images in, names and scores of the best labels out, and faults;
                          a second signature, `logits`, from pixels to all logits
<output>/model.keras      the network alone: images in [-1, 1] in, logits out. Keras has no layer
                          that decodes, or that crops as evaluation does, and loads no code.
<output>/labels.parquet   names by class id
<output>/export.json      where the weights come from, and how the dataset stores images; comes
                          last: without it the export is not complete
"""

import errno
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import tensorflow as tf

from manylabel.deploy.classifier import ImageClassifier
from manylabel.deploy.errors import DeploymentError
from manylabel.deploy.origin import (
    DEFAULT_TOP_K,
    ORIGIN,
    SAVED_MODEL,
    TrainedModel,
    find_trained,
)
from manylabel.storage.full_disks import writing
from manylabel.storage.locks import sole_holder, sole_user
from manylabel.trainer.predict import refuse_unless_finite, share_gpus
from manylabel.trainer.runs.directory import LABELS

KERAS_MODEL = "model.keras"
_PARTS = (SAVED_MODEL, KERAS_MODEL, LABELS, ORIGIN)
_UNFINISHED = ".unfinished-"
_LOCK = "lock"
_OF_A_VOLUME = "lost+found"  # What an empty one holds.


def export(run: Path, output: Path, *, step: int | None = None, top_k: int = DEFAULT_TOP_K) -> Path:
    """Writes the Polyak-averaged weights of a checkpoint in both formats.

    Args:
        output: a new or empty directory, or one in which an export did not come to its end.
        step: which checkpoint; None for the newest.
        top_k: labels that the SavedModel returns for an image.

    Returns:
        The SavedModel's directory.

    Raises:
        TrainingError: there is no such run, or its labels or the checkpoint are of another one.
        CheckpointError: the checkpoint is damaged, or its scores are not finite.
        StorageError: another file of the run is.
        DeploymentError: the run has no such checkpoint or does not say how its dataset was made,
            or `output` holds something already, or gets it meanwhile.
    """
    model = find_trained(run, step, top_k)
    with _unfinished_in(output) as unfinished, writing(output, unfinished):
        _write(model, unfinished)
        _publish(unfinished, output)
    return output / SAVED_MODEL


def _write(model: TrainedModel, folder: Path) -> None:
    share_gpus()
    # Not on a GPU, which may be full of a training job. The exported graph is bound to no device.
    with tf.device("/CPU:0"):
        classifier = ImageClassifier(model)
        grey = np.zeros([1, *classifier.network.input_shape[1:]], np.float32)
        refuse_unless_finite(classifier.logits(grey)["logits"].numpy(), model.checkpoint)
    tf.saved_model.save(
        classifier,
        str(folder / SAVED_MODEL),
        signatures={"serving_default": classifier.classify, "logits": classifier.logits},
    )
    classifier.network.save(folder / KERAS_MODEL)
    shutil.copyfile(model.run / LABELS, folder / LABELS)
    model.origin.write(folder / ORIGIN)


def _publish(unfinished: Path, output: Path) -> None:
    # The model first: of two at once, the second finds it there. Its origin says that all is.
    moved: list[Path] = []
    try:
        for name in _PARTS:
            (unfinished / name).rename(output / name)
            moved.append(output / name)
    except BaseException as error:
        _remove(moved)
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise _occupied(output) from error
        raise


@contextmanager
def _unfinished_in(output: Path) -> Iterator[Path]:
    """A folder for what is not finished, in `output`, which is made if need be.

    In it and not beside it: `output` may be a mounted volume, or the current folder.
    """
    made = not output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise DeploymentError(
            f"{output}: expected a new or empty directory; it, or what it is to lie in, is a file"
        ) from error
    _remove_abandoned(output)
    if any(path.name != _OF_A_VOLUME for path in output.iterdir() if not _is_unfinished(path)):
        raise _occupied(output)
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=output))
    try:
        with sole_holder(unfinished / _LOCK):
            yield unfinished
    finally:  # Whatever happened, also a stop: it is complete by now, or absent.
        shutil.rmtree(unfinished, ignore_errors=True)
        if made:
            with suppress(OSError):  # It is not empty, as it should be.
                output.rmdir()


def _is_unfinished(path: Path) -> bool:
    return path.name.startswith(_UNFINISHED)


def _remove_abandoned(output: Path) -> None:
    """What exports left that were killed; those that are at work hold their locks."""
    unfinished = list(filter(_is_unfinished, output.iterdir()))
    for path in list(unfinished):
        with suppress(OSError), sole_user(path / _LOCK):
            shutil.rmtree(path, ignore_errors=True)
            unfinished.remove(path)
            if not (output / ORIGIN).exists() and not unfinished:
                _remove(output / name for name in _PARTS)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _occupied(output: Path) -> DeploymentError:
    return DeploymentError(f"{output}: expected a new or empty directory; it is not empty")
