"""A small dataset that the project wrote, and everything that reads one."""

import csv
import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from manylabel.eval.config import UnknownKind
from manylabel.eval.errors import EvaluationError
from manylabel.eval.heldout import read_heldout
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.progress import Meter
from manylabel.preprocessing.verification import verify
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import StorageError
from manylabel.storage.schema import SplitName
from manylabel.storage.shard_files import check_shards
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.records.reader import RecordReader
from tests.fuzz._target import ACCEPTED, check_line, refused

PICTURES = 12
LABELS = ("cat", "dog", "owl")
REFUSALS = (StorageError, TrainingError, EvaluationError)


@cache
def sound_dataset() -> dict[str, bytes]:
    """Its files by their paths; some labels are verified absences."""
    with TemporaryDirectory() as folder:
        catalog = Path(folder) / "labels.csv"
        with catalog.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("image_path", "label", "confidence"))
            for number in range(PICTURES):
                (Path(folder) / f"{number}.png").write_bytes(picture(number))
                rows.writerow((f"{number}.png", LABELS[number % 3], 1))
                rows.writerow((f"{number}.png", LABELS[(number + 1) % 3], number % 2))
        output = Path(folder) / "output" / "dataset"
        preprocess(config_of(catalog), str(output))
        return {
            str(path.relative_to(output)): path.read_bytes()
            for path in sorted(output.rglob("*"))
            if path.is_file()
        }


def picture(number: int, format_: str = "PNG") -> bytes:
    """Like no other number's."""
    coarse = np.random.default_rng(number).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((30, 25), Image.Resampling.BICUBIC).save(file, format_)
    return file.getvalue()


def config_of(catalog: Path, **settings: object) -> PreprocessingConfig:
    """Of a job in this process, with small shards and a held-out side."""
    return PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(catalog), **settings},
            "heldout": {"size": 4},
            "shards": {"images_per_shard": 4},
            "images": {"short_side_limit": 32, "max_pixels": 1_000_000},
            "executor": "inline",
        }
    )


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def read_all(root: Path) -> str:
    """Has every reader read a dataset; ACCEPTED if none refuses, else who does first, and how."""
    try:
        dataset = Dataset.open(root)
    except StorageError as error:
        return f"open: {refused(error)}"
    verdicts = [_attempt(read, dataset) for read in (*_READERS, _verified)]
    return next((verdict for verdict in verdicts if verdict != ACCEPTED), ACCEPTED)


def _attempt(read: Callable[[Dataset], None], dataset: Dataset) -> str:
    try:
        read(dataset)
    except REFUSALS as error:
        return f"{read.__name__.strip('_')}: {refused(error)}"
    return ACCEPTED


def _labels(dataset: Dataset) -> None:
    dataset.label_names()


def _shards_looked_at(dataset: Dataset) -> None:
    check_shards(dataset, *SplitName)


def _iterated(dataset: Dataset) -> None:
    for split in SplitName:
        for image in dataset.iterate(split):
            assert isinstance(image.image_id, str)


def _records_read(dataset: Dataset) -> None:
    """One after another, as a worker of the training reads them."""
    for split in SplitName:
        with RecordReader(dataset, split) as reader:
            for shard, entry in enumerate(dataset.split(split).shards):
                for number in range(min(entry.records, PICTURES)):
                    record = reader.read(shard, number)
                    assert record.payload is not None or record.detail


def _heldout(dataset: Dataset) -> None:
    read_heldout(dataset, UnknownKind.NEGATIVE)


def _heldout_with_absences(dataset: Dataset) -> None:
    read_heldout(dataset, UnknownKind.IGNORE)


def _verified(dataset: Dataset) -> None:
    damages = verify(dataset, Meter())
    for damage in damages:
        check_line(damage.problem)
    if damages:
        raise StorageError(damages[0].problem)


_READERS = (_labels, _shards_looked_at, _iterated, _records_read, _heldout, _heldout_with_absences)
