"""The weight of each class in the metric: given commonness, or its share of the training labels."""

from collections.abc import Sequence

from preprocessing.catalogs.csv_file import read_csv_lines
from preprocessing.config import WeightConfig
from preprocessing.errors import PreprocessingError
from preprocessing.labels import LabelCount, normalise_label


def read_weights(config: WeightConfig) -> dict[str, float] | None:
    """Weights by label name from the file that the settings name, or None without one.

    Raises:
        PreprocessingError: file or columns are missing, a label is listed twice, or a weight is
            not a finite number of 0 or more.
    """
    if config.path is None:
        return None
    try:
        lines = list(read_csv_lines(config.path))
    except FileNotFoundError:
        raise PreprocessingError(
            f"{config.path}: no such file; set preprocessing.weights.path"
        ) from None
    header = lines[0][1] if lines else []
    for column in (config.label_column, config.weight_column):
        if column not in header:
            raise PreprocessingError(
                f"{config.path}: expected a column {column!r}, received columns {header}"
            )
    label_at, weight_at = header.index(config.label_column), header.index(config.weight_column)
    weights: dict[str, float] = {}
    for number, cells in lines[1:]:
        name = normalise_label(cells[label_at])
        if name in weights:
            raise PreprocessingError(f"{config.path}: line {number}: {name!r} is listed twice")
        weights[name] = _parse(cells[weight_at], f"{config.path}: line {number}")
    return weights


def class_weights(
    classes: Sequence[LabelCount], given: dict[str, float] | None, config: WeightConfig
) -> list[float]:
    """A weight for each class, in order.

    Raises:
        PreprocessingError: a class is not in the file and `weights.missing` is not set.
    """
    if given is None:
        total = sum(label.train for label in classes)
        return [label.train / total for label in classes]
    unknown = [label.name for label in classes if label.name not in given]
    if unknown and config.missing is None:
        raise PreprocessingError(
            f"{config.path}: no weight for {len(unknown)} of {len(classes)} classes, the first is "
            f"{unknown[0]!r}; list them or set preprocessing.weights.missing"
        )
    return [given.get(label.name, config.missing or 0.0) for label in classes]


def _parse(text: str, place: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = float("nan")
    if not 0 <= weight < float("inf"):
        raise PreprocessingError(
            f"{place}: expected a weight that is finite and 0 or more, received {text!r}"
        )
    return weight
