"""Class weights of the weighted metrics."""

import csv
import unicodedata

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from upath import UPath

from manylabel.eval.config import WeightKind, WeightsConfig
from manylabel.eval.errors import EvaluationError
from manylabel.storage.errors import reason_of

_HEADER = ["label", "weight"]


def raw_weights(config: WeightsConfig, labels: pa.Table) -> NDArray[np.float64]:
    """Weights by class id as their source gives them, float64 [C], non-negative.

    Args:
        config: Where the weights come from.
        labels: `Dataset.labels()`; its columns `name` and `train_count` are read.

    Raises:
        EvaluationError: the CSV is unreadable, lacks a label without a default, or holds a
            repeated label or a weight that is not finite and non-negative; or all weights are 0.
    """
    counts = labels.column("train_count").to_numpy()
    match config.kind:
        case WeightKind.UNIFORM:
            weights = np.ones(len(counts))
        case WeightKind.TRAINING_SHARE:
            weights = counts.astype(np.float64)
        case WeightKind.TRAINING_LOG_COUNT:
            weights = np.log1p(counts)
        case WeightKind.CSV:
            weights = _weights_from_csv(config, labels.column("name").to_pylist())
    if not weights.any():
        raise EvaluationError(
            f"class weights of kind {config.kind}: expected at least one above 0, received "
            f"{len(weights)} zeros"
        )
    return weights


def normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same ratios, summing to one."""
    # By the maximum first, so that the sum of large weights stays finite.
    weights = weights / weights.max()
    return weights / weights.sum()


def _weights_from_csv(config: WeightsConfig, names: list[str]) -> NDArray[np.float64]:
    assert config.csv is not None  # WeightsConfig requires it with this kind
    table = _read_csv(config.csv)
    lacking = [name for name in names if name not in table]
    if lacking and config.missing is None:
        raise EvaluationError(
            f"{config.csv}: no weight for {len(lacking)} of {len(names)} labels, the first is "
            f"{lacking[0]!r}; add them or set weights.missing"
        )
    return np.array([table.get(name, config.missing) for name in names], dtype=np.float64)


def _read_csv(path: str) -> dict[str, float]:
    if not UPath(path).is_file():
        raise EvaluationError(f"{path}: no such file of class weights")
    table: dict[str, float] = {}
    # utf-8-sig: spreadsheets put a byte-order mark before the header.
    with UPath(path).open("r", encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            header = next(reader, [])
            if header != _HEADER:
                raise EvaluationError(
                    f"{path}: expected the header label,weight, received {header}"
                )
            for row in reader:
                if row:
                    _add(table, row, f"{path}, line {reader.line_num}")
        except (UnicodeDecodeError, csv.Error) as error:
            raise EvaluationError(
                f"{path}: expected CSV in UTF-8, after line {reader.line_num}: {reason_of(error)}"
            ) from error
    return table


def _add(table: dict[str, float], row: list[str], place: str) -> None:
    if len(row) != len(_HEADER):
        raise EvaluationError(f"{place}: expected label,weight, received {len(row)} fields")
    # As preprocessing normalises labels, or equal names would not meet.
    name = unicodedata.normalize("NFC", row[0]).strip()
    if name in table:
        raise EvaluationError(f"{place}: label {name!r} has a weight already; keep one")
    try:
        weight = float(row[1])
    except ValueError:
        weight = float("nan")
    if not (np.isfinite(weight) and weight >= 0):
        raise EvaluationError(
            f"{place}: expected a finite weight of 0 or more for {name!r}, received {row[1]!r}"
        )
    table[name] = weight
