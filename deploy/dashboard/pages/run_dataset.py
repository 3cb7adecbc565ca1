"""What one run learnt from: how frequent labels are, how many an image has, what was rejected."""

import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from upath import UPath

from manylabel.deploy.dashboard.charts.counts import frequency_chart, histogram, reasons_chart
from manylabel.deploy.dashboard.charts.svg import Chart
from manylabel.deploy.dashboard.errors import Problems
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.states import dataset_of, description_of, newest_summary
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import TableError
from manylabel.storage.locations import Location, is_local
from manylabel.storage.manifest import (
    HELDOUT_REJECTED_NAME,
    LABELS_NAME,
    MANIFEST_NAME,
    REJECTED_NAME,
    Manifest,
)
from manylabel.storage.schema import LABELS_SCHEMA, SplitName
from manylabel.storage.tables import count_values, read_table, table_parts

_T = TypeVar("_T")

_MOST_IMAGES = 20_000
"""Held-out images whose labels are counted; FastEval14k has 14,000."""
_MOST_REASONS = 8


@dataclass(frozen=True, eq=False)
class DatasetSection:
    """What the page says of a dataset.

    Attributes:
        root: Where it is.
        manifest: None where it is gone, or was made again.
        reasons: Rejected images and labels by reason, the most frequent first; None: unknown.
    """

    root: str
    manifest: Manifest | None
    reasons: tuple[tuple[str, int], ...] | None
    charts: tuple[Chart, ...]


def dataset_section(store: Store, run: str, problems: Problems) -> DatasetSection | None:
    """The section of a run's page; None where nothing tells of one."""
    where = _where(store, run, problems)
    if where is None:
        return None
    again = f"manylabel preprocess CONFIG --output {shlex.quote(where)}"
    dataset = problems.attempt(lambda: dataset_of(store, run), again)
    if dataset is None:
        return DatasetSection(where, None, None, ())
    charts = []
    labels_path = dataset.root / LABELS_NAME
    counts = problems.attempt(lambda: _cached(store, labels_path, _train_counts), again)
    if counts is not None and len(counts):
        charts.append(frequency_chart(counts))
    labels = problems.attempt(lambda: _labels_an_image(store, dataset), again)
    if labels is not None and len(labels):
        title = "Labels of each held-out image"
        charts.append(histogram("labels-an-image", title, labels, "labels"))
    reasons = problems.attempt(lambda: _reasons(store, dataset), again)
    if reasons:
        charts.append(reasons_chart(reasons[:_MOST_REASONS]))
    return DatasetSection(where, dataset.manifest, reasons, tuple(charts))


def _where(store: Store, run: str, problems: Problems) -> str | None:
    if store.is_scored(run):
        summary = problems.attempt(lambda: newest_summary(store, run))
        return None if summary is None else summary.dataset.root
    description = problems.attempt(lambda: description_of(store, run))
    return None if description is None else description.dataset


def _cached(store: Store, path: UPath, read: Callable[[Location], _T]) -> _T:
    """What a file says, kept while the file is the same if it is on this machine."""
    if not is_local(path):
        return read(path)
    if not path.is_file():
        raise TableError(f"{path}: no such file")
    return store.cached(Path(path.path), read)


def _train_counts(path: Location) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = read_table(path, LABELS_SCHEMA).column("train_count").to_numpy()
    return counts


def _reasons(store: Store, dataset: Dataset) -> tuple[tuple[str, int], ...]:
    """Of a table in one file, or in parts where it is large."""
    counted: Counter[str] = Counter()
    for name in (REJECTED_NAME, HELDOUT_REJECTED_NAME):
        for part in table_parts(dataset.root / name):
            if name == REJECTED_NAME or part.is_file():  # Few datasets have the second.
                counted.update(_cached(store, part, _count_reasons))
    return tuple(sorted(counted.items(), key=_by_count))


def _count_reasons(path: Location) -> Counter[str]:
    return count_values(path, "reason")


def _by_count(reason: tuple[str, int]) -> tuple[int, str]:
    return -reason[1], reason[0]


def _labels_an_image(store: Store, dataset: Dataset) -> NDArray[np.int64]:
    """Labels of held-out images, from the indexes of the first shards."""

    def read(path: Location) -> NDArray[np.int64]:
        counts = [np.zeros(0, np.int64)]
        for shard in dataset.split(SplitName.HELDOUT).shards:
            if sum(map(len, counts)) >= _MOST_IMAGES:
                break
            lists = dataset.read_index(shard).column("label_ids")
            counts.append(pc.list_value_length(lists).to_numpy())
        return np.concatenate(counts)

    return _cached(store, dataset.root / MANIFEST_NAME, read)
