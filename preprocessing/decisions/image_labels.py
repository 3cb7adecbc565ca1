"""The labels of many images as three columns.

A label travels as a 63-bit hash of its name (its key); the names follow once a bucket, and two
names of one key are an error (`vocabulary.name_labels`).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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

    def rows_in(self, keys: np.ndarray) -> np.ndarray:
        """For each pair the row of its key in `keys`; -1 where it is not there."""
        rows = pc.index_in(pa.array(self.key), value_set=pa.array(keys))
        return rows.fill_null(-1).to_numpy()

    def among(self, keys: np.ndarray) -> "Labels":
        """Those with one of `keys`."""
        return self.filter(self.rows_in(keys) >= 0)

    def merged(self) -> "Labels":
        """In order, each label of an image once with its highest confidence: a presence outweighs
        an absence."""
        order = _by_image_and_key(self.image, self.key)
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


def _by_image_and_key(image: np.ndarray, key: np.ndarray) -> np.ndarray:
    """As np.lexsort((key, image)), in a quarter of the time: one sort of the image and of as much
    of the key as 64 bits hold, which is nearly always enough."""
    bits = np.uint64(max(1, int(image.max(initial=0)).bit_length()))
    packed = (image.astype(np.uint64) << (np.uint64(64) - bits)) | (key >> bits)
    order = np.argsort(packed)
    packed, ordered = packed[order], key[order]
    unsure = (packed[1:] == packed[:-1]) & (ordered[1:] != ordered[:-1])
    return np.lexsort((key, image)) if unsure.any() else order
