"""Labels: how names and confidences are read, merged and counted."""

import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from manylabel.storage.schema import SplitName

Labels = Mapping[str, float]
"""Name to confidence. 0 is a verified absence; every other value is in (0, 1]."""


@dataclass(frozen=True, slots=True)
class LabelCount:
    """A class of the vocabulary and the images of each side that have it."""

    name: str
    train_count: int
    heldout_count: int


def normalise_label(raw: str) -> str:
    """Unicode NFC, without white space around it; empty when nothing is left.

    Everything else survives as it is, whatever its length: commas, quotes, emoji, capitals.
    """
    return unicodedata.normalize("NFC", raw).strip()


def parse_confidence(raw: str | float) -> float | None:
    """A number in [0, 1], or None for anything else."""
    try:
        value = float(raw)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None


def merge_labels(several: Iterable[Labels]) -> dict[str, float]:
    """Each label once, by name, with its highest confidence: a presence outweighs an absence."""
    merged: dict[str, float] = {}
    for labels in several:
        for name, confidence in labels.items():
            merged[name] = max(confidence, merged.get(name, 0.0))
    return dict(sorted(merged.items()))


def present(labels: Labels) -> list[str]:
    """Names of the labels that an image has, verified absences left out."""
    return [name for name, confidence in labels.items() if confidence > 0]


def build_vocabulary(counts: Iterable[tuple[tuple[str, SplitName], int]]) -> list[LabelCount]:
    """The classes: every label that a training image has, by name in code point order.

    The order is by name, not by frequency, because metrics break ties between equal scores by
    class id: ids in order of frequency would lend an untrained model the frequency baseline.

    Args:
        counts: ((name, side), images) for each name and side that has images.
    """
    by_side: dict[SplitName, dict[str, int]] = {side: {} for side in SplitName}
    for (name, side), images in counts:
        by_side[side][name] = images
    train, heldout = by_side[SplitName.TRAIN], by_side[SplitName.HELDOUT]
    return [LabelCount(name, train[name], heldout.get(name, 0)) for name in sorted(train)]
