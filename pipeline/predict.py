"""The stage `predict`: labels of new images, by a run or an exported model.

Each image goes through preprocessing's own `store` first, and the model is given the JPEG that a
dataset would hold. So files of every format that preprocessing reads are answered, and the model
sees the very pixels that training would have seen. (The exported graph's form of `store`, for who
serves it alone, reads JPEG and PNG, and reduces large pictures nearly alike.)
"""

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from upath import UPath

from manylabel.deploy.image_files import ImageFiles, find_images, one_line, text_of
from manylabel.deploy.origin import (
    DEFAULT_TOP_K,
    ORIGIN,
    ExportedModel,
    TrainedModel,
    find_exported,
    find_trained,
)
from manylabel.deploy.predicted_labels import Prediction, Write, labels_file
from manylabel.pipeline.champion import meant_checkpoint
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.events import (
    LOADING,
    Doing,
    OnEvent,
    PredictionProgressed,
    long_work,
)
from manylabel.pipeline.quiet import quiet_imports
from manylabel.pipeline.standstill import telling_standstill
from manylabel.preprocessing.pictures.fetch import fetch
from manylabel.preprocessing.pictures.images import store
from manylabel.preprocessing.pictures.opening import FORMATS
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.storage.image_policy import JPEG_SIDE_LIMIT, ImageConfig
from manylabel.trainer.runs.directory import DESCRIPTION, is_described

if TYPE_CHECKING:
    from manylabel.deploy.predict import Predictor

# Files that are read and decoded at the same time, for the latency of storage and for the cores.
# Each can take the memory of an image of `images.max_pixels`: at its default 400 MB (measured).
_DECODED_AT_ONCE = 4
_KINDS_TOLD = 6  # Of files that are no images; a line has room for them.


@dataclass
class Tally:
    """What became of the images so far.

    Attributes:
        seen: images that have labels; faults: images, and unreadable folders, that have a fault.
        first_fault: path and fault of the first; "" before it.
        last: the prediction for the last image.
    """

    seen: int = 0
    faults: int = 0
    first_fault: str = ""
    last: Prediction | None = None

    def add(self, image_path: str, prediction: Prediction) -> None:
        self.last = prediction
        if prediction.fault is None:
            self.seen += 1
            return
        self.faults += 1
        self.first_fault = self.first_fault or one_line(f"{image_path}: {prediction.fault}")


@dataclass(frozen=True)
class LabelsReport:
    """What `predict` did.

    Attributes:
        model: the exported model's directory, or RUN@STEP.
        others: files that are no images, by kind.
        only: what was predicted for the one image that was named; None for a folder.
    """

    output: Path
    model: str
    tally: Tally
    others: Counter[str]
    seconds: float
    only: Prediction | None

    def lines(self) -> Iterator[str]:
        """All of it for people, the labels of a single image first."""
        if self.only is not None:
            for label, score in zip(self.only.labels, self.only.scores, strict=True):
                yield f"{score:6.3f}  {one_line(label)}"
        tally = self.tally
        speed = tally.seen / max(self.seconds, 1e-9)
        yield (
            f"{self.output}: labels of {tally.seen:,} image{'s' if tally.seen != 1 else ''} by "
            f"{self.model}, in {self.seconds:.0f} s "
            f"({speed:.{0 if speed >= 10 else 1}f} images/s)"
        )
        if tally.faults:
            yield (
                f"{tally.faults:,} could not be seen, `fault` says why; the first is "
                f"{tally.first_fault}"
            )
        if self.others:
            in_order = sorted(self.others, key=lambda kind: (-self.others[kind], kind))
            kinds = [f"{kind} {self.others[kind]:,}" for kind in in_order[:_KINDS_TOLD]]
            if more := len(in_order) - len(kinds):
                kinds.append(f"{more:,} more kinds")
            yield f"left out {self.others.total():,} other files: {', '.join(kinds)}"


def predict_labels(
    model: Path,
    images: Path,
    output: Path,
    step: int | None,
    top_k: int | None,
    batch_size: int,
    on_event: OnEvent,
) -> LabelsReport:
    """Writes the labels of an image, or of all images in a folder, to a file.

    Args:
        model: directory of an exported model or of a run, or a folder of runs: its champion.
        step: which checkpoint of a run; None: the newest.
        top_k: labels wanted of an image; None: as many as an exported model returns, 5 of a run.
        batch_size: images that are predicted at a time; memory grows with it.

    Raises:
        CommandError: there is no model or image, or no image could be seen; the file then says why.
        TrainingError, DeploymentError, StorageError: the model, the folder or the file that is to
            be written cannot be used.
    """
    began = time.monotonic()
    found_model = _find_model(model, step, top_k)
    found = find_images(images)
    names = sorted([*found.names, *found.unreadable])
    if not names:
        raise CommandError(f"{images}: expected images ({', '.join(FORMATS)}), found none")
    tally = Tally()
    with labels_file(output, found_model.origin) as write, long_work("predict", on_event):
        on_event(Doing(LOADING))
        predictor = _load(found_model, top_k)
        policy = _of_new_images(found_model.origin.images)
        with telling_standstill(on_event) as moved:
            for batch, files in _read_ahead(found, names, policy, batch_size):
                _predict(predictor, batch, files, tally, write)
                moved(PredictionProgressed(tally.seen + tally.faults, len(names)))
    if not tally.seen:
        raise CommandError(
            f"{output}: none of the {tally.faults:,} images could be seen, and it says why; the "
            f"first is {tally.first_fault}"
        )
    return LabelsReport(
        output,
        _name(found_model),
        tally,
        found.others,
        time.monotonic() - began,
        tally.last if not images.is_dir() else None,
    )


def _find_model(path: Path, step: int | None, top_k: int | None) -> TrainedModel | ExportedModel:
    if (path / ORIGIN).is_file():
        if step is not None:
            raise CommandError(
                f"--step {step}: {path} is an exported model, of one checkpoint; name its run, or "
                "leave --step out"
            )
        return find_exported(path, top_k)
    run, step = meant_checkpoint(path, step)
    if not is_described(run):
        raise CommandError(
            f"{path}: expected an exported model ({ORIGIN}), a run ({DESCRIPTION}), or a folder of "
            "runs that has a champion; `manylabel runs` lists the runs"
        )
    return find_trained(run, step, DEFAULT_TOP_K if top_k is None else top_k)


def _name(model: TrainedModel | ExportedModel) -> str:
    if isinstance(model, ExportedModel):
        return str(model.directory)
    return f"{model.run}@{model.checkpoint.step}"


def _load(model: TrainedModel | ExportedModel, top_k: int | None) -> "Predictor":
    with quiet_imports():
        from manylabel.deploy.predict import Predictor
    return Predictor(model, top_k)


def _of_new_images(policy: ImageConfig) -> ImageConfig:
    """The dataset's policy without the two bounds that say what is worth learning from; the
    exported graph has them no more."""
    return policy.model_copy(update={"min_side": 1, "max_aspect_ratio": float(JPEG_SIDE_LIMIT)})


def _read_ahead(
    found: ImageFiles, names: Sequence[str], policy: ImageConfig, batch_size: int
) -> Iterator[tuple[Sequence[str], list[bytes | str]]]:
    """Yields names with what `_stored` makes of them, while the next batch is read already."""
    pool = ThreadPoolExecutor(_DECODED_AT_ONCE)
    ahead: deque[tuple[Sequence[str], Iterator[bytes | str]]] = deque()
    try:
        for start in range(0, len(names), batch_size):
            batch = names[start : start + batch_size]
            ahead.append((batch, pool.map(partial(_stored, found, policy), batch)))
            if len(ahead) > 1:
                batch, files = ahead.popleft()
                yield batch, list(files)
        for batch, files in ahead:
            yield batch, list(files)
    finally:
        pool.shutdown(cancel_futures=True)


def _stored(found: ImageFiles, policy: ImageConfig, name: str) -> bytes | str:
    """The JPEG that a dataset would hold of a file, or its fault."""
    if name in found.unreadable:
        return f"folder that cannot be listed: {found.unreadable[name]}"
    try:
        return store(fetch(UPath(found.root), name, policy.max_bytes), policy).encoded
    except ImageRejectedError as rejected:
        fault = f"{rejected.reason}: {rejected.detail}"
        if rejected.reason is RejectReason.NOT_AN_IMAGE:
            fault += "; convert it to one of them"
    except OSError as error:  # Of this file, as far as anyone can tell; the others go on.
        fault = f"{RejectReason.UNREADABLE_FILE}: {error.strerror or error}"
    except MemoryError:
        fault = "expected room for its pixels, received too little memory"
    return text_of(fault)


def _predict(
    predictor: "Predictor",
    batch: Sequence[str],
    files: Sequence[bytes | str],
    tally: Tally,
    write: Write,
) -> None:
    """Predicts and writes one batch."""
    stored = [file for file in files if isinstance(file, bytes)]
    predictions = iter(predictor.predict(stored) if stored else ())
    for name, file in zip(batch, files, strict=True):
        path = text_of(name)
        prediction = next(predictions) if isinstance(file, bytes) else Prediction((), (), file)
        write(path, prediction)
        tally.add(path, prediction)
