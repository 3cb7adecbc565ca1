"""A held-out set of its own, decided by plain loops over each training and each held-out image.

It goes on where `plain_loop` ends: images are listed, looked at and merged there, one catalog at a
time.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.rejections import RejectReason
from tests.preprocessing.decisions.plain_loop import (
    MIN_SET_BITS,
    Decided,
    File,
    Image,
    Row,
    list_and_merge,
)


class Side(NamedTuple):
    """What becomes of the images of a catalog: (id, labels, negatives) of those that stay."""

    images: list[tuple[str, dict[str, float], set[str]]]
    rejected: list[tuple[str, str, str]]
    duplicates: list[tuple[str, str]]
    listed: int


class Apart(NamedTuple):
    train: Side
    heldout: Side
    unknown: list[tuple[str, int]]


def decide_apart(
    rows: Sequence[Row],
    heldout_rows: Sequence[Row],
    files: Mapping[str, File],
    heldout_files: Mapping[str, File],
    config: PreprocessingConfig,
) -> Apart:
    """Everything that is decided about two catalogs before classes are numbered."""
    of_train, of_heldout = Decided(), Decided()
    images = list_and_merge(rows, files, of_train)
    given = list_and_merge(heldout_rows, heldout_files, of_heldout)
    stay = []
    for image in images:
        found = _why_not(image, sorted(given, key=lambda other: other.image_id), config)
        if found is None:
            stay.append(image)
        else:
            of_train.rejected.append((image.image_id, *found))
    minimum = config.labels.minimum_count
    counts = Counter(name for image in stay for name in image.present)
    known = {name for name, count in counts.items() if count >= minimum}
    unknown = Counter(name for image in given for name in image.present - known)
    left = [image for image in stay if image.present & known]
    for image in stay:
        if image not in left:
            detail = f"none of its labels is on {minimum} images (labels.minimum_count)"
            of_train.rejected.append((image.image_id, RejectReason.NO_LABEL_LEFT, detail))
    least = config.heldout.minimum_labels
    judged = [image for image in given if len(image.present & known) >= least]
    for image in given:
        if image not in judged:
            detail = (
                f"expected {least} labels that training images have (heldout.minimum_labels), "
                f"received {len(image.present & known)} of {len(image.present)}"
            )
            of_heldout.rejected.append((image.image_id, RejectReason.UNKNOWN_LABELS, detail))
    by_count = sorted(unknown.items(), key=lambda entry: (-entry[1], entry[0]))
    return Apart(_side(left, known, of_train), _side(judged, known, of_heldout), by_count)


def _why_not(
    image: Image, given: Sequence[Image], config: PreprocessingConfig
) -> tuple[str, str] | None:
    """Why a training image may not stay beside the held-out ones, which are sorted."""
    for other in given:
        if other.file.digest == image.file.digest:
            return RejectReason.EQUAL_TO_HELDOUT, f"{other.image_id} has the same bytes"
    distance = config.heldout.duplicate_distance
    if distance is not None:
        near = [
            (bits, other.image_id)
            for other in given
            for bits in [(image.file.look ^ other.file.look).bit_count()]
            if bits == 0 or (bits <= distance and _says_enough(image) and _says_enough(other))
        ]
        if near:
            bits, name = min(near)
            detail = f"{name} looks like it: {bits} of 64 bits differ"
            return RejectReason.NEAR_HELDOUT, detail
    for group in sorted(image.groups):
        for other in given:
            if group in other.groups:
                detail = f"{other.image_id} is of the group {group!r} too"
                return RejectReason.GROUP_OF_HELDOUT, detail
    return None


def _says_enough(image: Image) -> bool:
    return image.file.look.bit_count() >= MIN_SET_BITS


def _side(images: Sequence[Image], known: set[str], decided: Decided) -> Side:
    rows = [
        (
            image.image_id,
            {name: image.labels[name] for name in image.present & known},
            {name for name in image.labels.keys() & known if name not in image.present},
        )
        for image in images
    ]
    rows.sort(key=lambda row: row[0])
    return Side(rows, sorted(decided.rejected), sorted(decided.duplicates), decided.listed)
