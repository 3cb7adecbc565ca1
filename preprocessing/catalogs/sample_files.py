"""The files of a WebDataset's sample: how they are called, and what labels they say."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.label_lists import NotAListError, list_form, read_lists

PICTURES = (
    *("jpg", "jpeg", "png", "webp", "gif", "bmp", "jpe", "jfif"),
    *("tif", "tiff", "ppm", "pgm", "pbm", "pnm", "avif", "heic"),
)
"""Extensions of pictures; the one that comes first here is the sample's. Those of formats that are
not read are listed, and rejected where they are counted."""

LABELS = ("cls", "labels")
"""Extensions of labels where the settings name none. Not `txt`, where captions are."""

MAX_LABEL_BYTES = 1 << 20
"""Of a file with labels; past it another kind of file is likelier."""

_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)

Labels = list[tuple[str, float]]
"""Names with their confidences, which need not be in [0, 1] yet."""


class LabelsError(Exception):
    """A file that says no labels; tells what was expected and received."""


def split_name(name: str) -> tuple[str, str] | None:
    """A sample's key, folders included, and the file's extension in lower case: what is before and
    after the first dot of its name. None for a hidden file and for one without a dot."""
    match = _NAME.fullmatch(name)
    return None if match is None else (match[1], match[2].lower())


def label_extensions(config: CatalogConfig) -> tuple[str, ...]:
    """Of the files that labels are read from."""
    if config.webdataset.labels is not None:
        return (config.webdataset.labels.lower().removeprefix("."),)
    return LABELS if config.webdataset.label_key is None else ("json",)


def picture_extensions(config: CatalogConfig) -> tuple[str, ...]:
    """Of pictures; of several in a sample the first of these is its picture."""
    given = config.webdataset.picture
    return PICTURES if given is None else (given.lower().removeprefix("."),)


def parse_labels(data: bytes, extension: str, config: CatalogConfig) -> Labels:
    """What one file says; nothing where it has no such key, or null there.

    Raises:
        LabelsError: it is neither text nor JSON of the forms that are read.
    """
    if extension.rpartition(".")[2] == "json":
        value = _parsed(data)
        key = config.webdataset.label_key
        if key is None and isinstance(value, dict):
            raise LabelsError(
                f"expected a list of labels, received an object; set "
                f"{config.SECTION}.webdataset.label_key to the key of the labels, one of "
                f"{', '.join(value):.1000}, or to '' if all keys are labels"
            )
        labels = list(_of_json(value if key is None else _find(value, key), config))
    else:
        labels = [(name, 1.0) for name in _of_text(data, config)]
    for name, _ in labels:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise LabelsError(f"expected text, received half a character in {name!r}") from error
    return labels


def json_keys(data: bytes) -> list[str]:
    """Of an object; none of anything else."""
    try:
        value = _parsed(data)
    except LabelsError:
        return []
    return list(value) if isinstance(value, dict) else []


def _parsed(data: bytes | str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LabelsError(f"expected JSON: {error}") from error


def _find(value: Any, key: str) -> Any:
    """What a key of the outermost object leads to, or a JSON pointer (RFC 6901)."""
    is_pointer = key == "" or key.startswith("/")
    for part in key.split("/")[1:] if is_pointer else [key]:
        name = part.replace("~1", "/").replace("~0", "~") if is_pointer else part
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and len(name) < 10:
            value = value[int(name)] if int(name) < len(value) else None
        else:
            return None
    return value


def _of_json(value: Any, config: CatalogConfig) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, confidence in value.items():
            if not isinstance(confidence, int | float):
                raise _unexpected(confidence, f"a confidence of {name!r}")
            yield name, _float(confidence)
    elif isinstance(value, list):
        if _is_vector(value):
            raise _unexpected(value, "the labels of the picture alone, by name or number")
        for each in value:
            if isinstance(each, list | dict):
                raise _unexpected(each, "the name of a label")
            yield from _of_json(each, config)
    elif isinstance(value, str):
        yield from ((name, 1.0) for name in _split(value, config))
    elif isinstance(value, bool):
        raise _unexpected(value, "the name of a label")
    elif isinstance(value, int):
        yield str(value), 1.0
    elif isinstance(value, float) and value.is_integer():  # As pandas writes numbers beside none.
        yield str(int(value)), 1.0
    elif isinstance(value, float) and not math.isnan(value):
        raise _unexpected(value, "the name of a label")


def _is_vector(values: list[Any]) -> bool:
    """Whether there is a 0 or 1 for each label there may be: as class numbers they occur once."""
    return len(values) > len({0, 1}) and all(value in (0, 1) for value in values)


def _of_text(data: bytes, config: CatalogConfig) -> Iterator[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelsError(
            f"expected UTF-8, received byte 0x{data[error.start]:02x} at {error.start}"
        ) from error
    for line in text.splitlines():
        yield from _split(line, config)


def _split(text: str, config: CatalogConfig) -> Iterator[str]:
    separator = config.label_separator
    if (form := list_form(separator)) is not None:
        try:
            names = read_lists(pa.array([text]), form)[0].as_py() or []
        except NotAListError as error:
            raise LabelsError(str(error)) from error
    else:
        names = [text] if separator is None else text.split(separator)
    for name in names:
        if name and name.strip() and name.strip() not in config.null_values:
            yield name.strip()


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _unexpected(value: Any, expected: str) -> LabelsError:
    return LabelsError(f"expected {expected}, received {value!r:.200}")
