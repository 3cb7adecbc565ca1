"""COCO's JSON of instances, and LVIS's: images, categories, and annotations that tie them.

What an annotation outlines is read and dropped at once, so that memory holds the names of the
images and which categories each has, however large the masks are.
"""

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.class_names import label_names
from manylabel.preprocessing.catalogs.columns import MAX_SHOWN
from manylabel.preprocessing.catalogs.json_arrays import read_arrays
from manylabel.preprocessing.catalogs.rows import BATCH_ROWS, raw_table
from manylabel.preprocessing.catalogs.text_file import open_text
from manylabel.preprocessing.errors import PreprocessingError

_PAIRS_WAITING = 4_000_000
"""Annotations after which repeated pairs of image and category are dropped: a crowd has many."""

_CATEGORY_BITS = 32
_CATEGORY_MASK = (1 << _CATEGORY_BITS) - 1

_SHOWN = 5
"""Identifiers in an error."""


def read_coco(config: CatalogConfig, batch_rows: int = BATCH_ROWS) -> Iterator[pa.Table]:
    """Tables of `rows.raw_table`: each image with each of its categories, once.

    Identifiers are compared as texts. Categories of one name are told apart by theirs.

    An annotation, also of a crowd, is a presence, and so is each segment of a panoptic one; a
    category that LVIS lists in an image's `neg_category_ids` is a verified absence. An image with
    neither has one row without a label.

    Raises:
        PreprocessingError: not such a JSON, an identifier that stands for two things, or an
            annotation of an image or a category that is not listed.
    """
    catalog = _Catalog(config)
    with open_text(config, "COCO's JSON") as file:
        for section, number, item in read_arrays(file, config.path):
            if add := catalog.sections.get(section):
                where = f"{section}[{number}]"
                if not isinstance(item, dict):
                    raise catalog.error(f"{where}: expected an object, received {item!r}")
                add(where, item)
    yield from catalog.tables(batch_rows)


class _Numbers:
    """Numbers from 0 for identifiers, whichever part of the file names them first."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.names: list[str | None] = []

    def of(self, identifier: str) -> int:
        number = self._numbers.setdefault(identifier, len(self.names))
        if number == len(self.names):
            self.names.append(None)
        return number

    def by_identifier(self) -> dict[str, str | None]:
        """In order of the numbers."""
        return dict(zip(self._numbers, self.names, strict=True))


class _Pairs:
    """Pairs of an image's number and a category's, each packed into one number."""

    def __init__(self) -> None:
        self._waiting = array("q")
        self._once = np.empty(0, np.int64)

    def add(self, image: int, category: int) -> None:
        self._waiting.append(image << _CATEGORY_BITS | category)
        if len(self._waiting) == _PAIRS_WAITING:
            self.sorted()

    def sorted(self) -> np.ndarray:
        """Each once, by image and then by category."""
        waiting, self._waiting = np.array(self._waiting, np.int64), array("q")
        self._once = np.union1d(self._once, waiting)
        return self._once


class _Catalog:
    """What is known of a file while it is read.

    Attributes:
        sections: What to do with the items of an array.
    """

    def __init__(self, config: CatalogConfig) -> None:
        self.sections = {
            "images": self._add_image,
            "annotations": self._add_annotation,
            "categories": self._add_category,
        }
        self._config = config
        self._images, self._categories = _Numbers(), _Numbers()
        self._present, self._absent = _Pairs(), _Pairs()

    def error(self, message: str) -> PreprocessingError:
        if len(message) > MAX_SHOWN:
            message = f"{message[:MAX_SHOWN]}..."
        return PreprocessingError(f"{self._config.path}: {message}")

    def tables(self, batch_rows: int) -> Iterator[pa.Table]:
        """All rows, by image in the file's order; images without a label come last."""
        present, absent = self._present.sorted(), self._absent.sorted()
        if not self._images.names:
            raise self.error(
                "expected an array images of objects with id and file_name, received none; "
                "other JSON is read with an object a line, as .jsonl"
            )
        listed = np.union1d(present, absent)
        self._check_listed(listed)
        images = pa.array(self._images.names, pa.string())
        names = {key: name or "" for key, name in self._categories.by_identifier().items()}
        labels = pa.array(list(label_names(names).values()), pa.string())
        without = np.setdiff1d(np.arange(len(images)), listed >> _CATEGORY_BITS)

        def rows(image: np.ndarray, label: pa.Array, confidence: float) -> pa.Table:
            confidences = pa.array(np.full(len(image), confidence))
            return raw_table(images.take(pa.array(image)), label, confidences, None)

        for pairs, confidence in ((present, 1.0), (absent, 0.0)):
            for some in _cut(pairs, batch_rows):
                label = labels.take(pa.array(some & _CATEGORY_MASK))
                yield rows(some >> _CATEGORY_BITS, label, confidence)
        for some in _cut(without, batch_rows):
            yield rows(some, pa.nulls(len(some), pa.string()), 1.0)

    def _add_image(self, where: str, item: dict[str, Any]) -> None:
        image = self._images.of(self._identifier(where, item, "id"))
        self._name(self._images, image, self._image_name(where, item), where)
        for category in self._list(where, item, "neg_category_ids"):
            identifier = self._identifier(where, {"neg_category_ids": category}, "neg_category_ids")
            self._absent.add(image, self._categories.of(identifier))

    def _add_annotation(self, where: str, item: dict[str, Any]) -> None:
        image = self._images.of(self._identifier(where, item, "image_id"))
        for part in self._list(where, item, "segments_info") or [item]:
            if not isinstance(part, dict):
                raise self.error(f"{where}: expected objects in segments_info, received {part!r}")
            category = self._identifier(where, part, "category_id")
            self._present.add(image, self._categories.of(category))

    def _add_category(self, where: str, item: dict[str, Any]) -> None:
        category = self._categories.of(self._identifier(where, item, "id"))
        self._name(self._categories, category, self._text(where, item, "name"), where)

    def _name(self, numbers: _Numbers, number: int, name: str, where: str) -> None:
        known = numbers.names[number]
        if known is not None and known != name:
            raise self.error(
                f"{where}: expected an id of its own, received that of {known!r} for {name!r}; "
                "give one of them another id"
            )
        numbers.names[number] = name

    def _image_name(self, where: str, item: dict[str, Any]) -> str:
        """LVIS gives no more than a URL, whose end is where COCO's archives have the file."""
        if self._config.http is not None and "coco_url" in item:
            return self._text(where, item, "coco_url")
        if "file_name" in item or "coco_url" not in item:
            return self._text(where, item, "file_name").replace("\\", "/")
        return "/".join(self._text(where, item, "coco_url").split("/")[-2:])

    def _list(self, where: str, item: dict[str, Any], key: str) -> list[Any]:
        value = item.get(key) or []
        if not isinstance(value, list):
            raise self._unexpected(where, item, key, "a list")
        return value

    def _identifier(self, where: str, item: dict[str, Any], key: str) -> str:
        """As text: a tool that writes 7.0 or "7" for 7 means the same."""
        value = item.get(key)
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is int or (type(value) is str and value.isprintable()):
            return str(value)
        raise self._unexpected(where, item, key, "a number or a text")

    def _text(self, where: str, item: dict[str, Any], key: str) -> str:
        value = item.get(key)
        if type(value) is int:
            return str(value)
        try:
            if type(value) is str:
                value.encode()
                return value
        except UnicodeEncodeError:
            pass
        raise self._unexpected(where, item, key, "a text")

    def _unexpected(
        self, where: str, item: dict[str, Any], key: str, expected: str
    ) -> PreprocessingError:
        received = repr(item[key]) if key in item else f"only {', '.join(item) or 'nothing'}"
        return self.error(f"{where}: expected {expected} for {key}, received {received}")

    def _check_listed(self, pairs: np.ndarray) -> None:
        """Whether all that is named is there."""
        for section, numbers, named in (
            ("images", self._images, pairs >> _CATEGORY_BITS),
            ("categories", self._categories, pairs & _CATEGORY_MASK),
        ):
            unknown = [key for key, name in numbers.by_identifier().items() if name is None]
            if unknown:
                shown = ", ".join(unknown[:_SHOWN])
                more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
                lost = np.count_nonzero(np.isin(named, [numbers.of(key) for key in unknown]))
                raise self.error(
                    f"expected all {section} that annotations name, received none with the id "
                    f"{shown}{more}; add them, or remove what names them ({lost} labels)"
                )


def _cut(values: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (values[start : start + size] for start in range(0, len(values), size))
