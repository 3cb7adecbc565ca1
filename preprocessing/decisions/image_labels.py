"""The labels of many images as three columns.

A label travels as a 64-bit hash of its name (its key); the names follow once a bucket, and two
names of one key are an error (`vocabulary.name_labels`).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from manylabel.preprocessing.decisions.columns import column, flatten, run_starts, unflatten
from manylabel.preprocessing.decisions.hashing import hash_texts

LABELS = pa.list_(pa.struct([("key", pa.uint64()), ("confidence", pa.float64())]))


def label_keys(names: pa.Array) -> np.ndarray:
    return hash_texts(names, "label")


@dataclass(frozen=True)
class Labels:
    """Pairs of image and label, by image and then by key: three columns of equal length.

    Attributes:
        image: Row of the image in its table.
        key: See `label_keys`.
        confidence: 0 is a verified absence.
    """

    image: np.ndarray
    key: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of(cls, images: pa.Table) -> Self:
        image, pairs = flatten(column(images, "labels"))
        return cls(image, *(pairs.field(part).to_numpy() for part in ("key", "confidence")))

    def filter(self, keep: np.ndarray) -> "Labels":
        return Labels(self.image[keep], self.key[keep], self.confidence[keep])

    def present(self) -> "Labels":
        """Without the verified absences."""
        return self.filter(self.confidence > 0)

    def merged(self) -> "Labels":
        """In order, each label of an image once with its highest confidence: a presence outweighs
        an absence."""
        order = np.lexsort((self.key, self.image))
        image, key = self.image[order], self.key[order]
        starts = run_starts(image, key)
        if not len(starts):
            return self
        highest = np.maximum.reduceat(self.confidence[order], starts)
        return Labels(image[starts], key[starts], highest)

    def per_image(self, images: int) -> np.ndarray:
        return np.bincount(self.image, minlength=images)

    def lists(self, images: int) -> pa.Array:
        """The column `labels` of a table of `images` rows."""
        pairs = pa.StructArray.from_arrays(
            [pa.array(self.key), pa.array(self.confidence)], names=["key", "confidence"]
        )
        return unflatten(self.image, pairs, images)
