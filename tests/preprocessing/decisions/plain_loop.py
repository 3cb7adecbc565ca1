"""The whole of phase one as one plain loop over Python objects, to compare the decisions with.

No Arrow, no buckets, no hashing of labels: texts, dicts and sets. What two images share is told by
comparing each with each.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from manylabel.preprocessing.config import HeldoutConfig, PreprocessingConfig, ShardConfig
from manylabel.preprocessing.decisions.rows import (
    image_id_of,
    image_key,
    normalise_label,
    parse_confidence,
)
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason

HASH_RANGE = 1 << 63
MIN_SET_BITS = 8


class Row(NamedTuple):
    """One pair of image and label, as the catalog spells it."""

    image: str
    label: str | None
    confidence: str | float | None
    group: str | None


@dataclass(frozen=True)
class File:
    """What the file of an image says; `reason` is given where it cannot be used."""

    digest: bytes = b""
    look: int = 0
    stored_bytes: int = 0
    reason: RejectReason | None = None


@dataclass
class Image:
    """An image on its way into the dataset."""

    image_id: str
    labels: dict[str, float]
    groups: set[str]
    file: File = field(default_factory=File)
    place: int = 0
    heldout: bool = False

    @property
    def present(self) -> set[str]:
        return {name for name, confidence in self.labels.items() if confidence > 0}

    def take(self, labels: Iterable[tuple[str, float]], groups: Iterable[str]) -> None:
        for name, confidence in labels:
            self.labels[name] = max(confidence, self.labels.get(name, 0.0))
        self.groups.update(groups)


class Record(NamedTuple):
    """A row of a work item."""

    image_id: str
    digest: str
    label_ids: list[int]
    confidences: list[float]
    negative_ids: list[int]
    near_duplicate_group: int


@dataclass
class Decided:
    """All that phase one decides; lists are sorted where their order says nothing.

    Attributes:
        listed: Different spellings of paths.
        classes: (name, training images, held-out images) of each.
        work_items: Records of each shard that has one, in order.
        large_groups: Groups that are too large, images in them, size of the largest of all groups.
    """

    listed: int = 0
    rejected: list[tuple[str, str, str]] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    classes: list[tuple[str, int, int]] = field(default_factory=list)
    work_items: dict[str, list[Record]] = field(default_factory=dict)
    sides: dict[str, tuple[int, int]] = field(default_factory=dict)
    large_groups: tuple[int, int, int] = (0, 0, 0)


def stable_hash(key: str, purpose: str) -> int:
    digest = hashlib.blake2b(f"{purpose}\0{key}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big") % HASH_RANGE


def decide(rows: Sequence[Row], files: Mapping[str, File], config: PreprocessingConfig) -> Decided:
    """Everything that is decided about a catalog.

    Args:
        files: By image_id.
    """
    decided = Decided()
    images = list_and_merge(rows, files, decided)
    images = _with_frequent_labels(images, config.labels.minimum_count, decided)
    groups = _groups(images, config.heldout)
    _choose_sides(groups, config.heldout)
    _plan(images, config.shards, decided)
    sizes = [len(group) for group in groups]
    large = [size for size in sizes if size > config.heldout.largest_group]
    decided.large_groups = (len(large), sum(large), max(sizes, default=0))
    decided.rejected.sort()
    decided.duplicates.sort()
    return decided


def list_and_merge(rows: Sequence[Row], files: Mapping[str, File], decided: Decided) -> list[Image]:
    """The images of a catalog that can be used, one for files of equal bytes."""
    images = _looked_at(_listed(rows, decided), files, decided)
    return _without_equal_files(images, decided)


def _listed(rows: Sequence[Row], decided: Decided) -> list[Image]:
    decided.listed = len({row.image for row in rows})
    by_key = defaultdict(list)
    for row in rows:
        by_key[image_key(row.image)].append(row)
    images = []
    for key, mine in by_key.items():
        spellings = sorted({row.image for row in mine}, key=lambda raw: (raw != key, raw))
        decided.duplicates += [(spelling, key) for spelling in spellings[1:]]
        image = Image(key, {}, {row.group for row in mine if row.group is not None})
        for row in mine:
            image.take(_usable_label(key, row, decided), ())
        try:
            image_id_of(spellings[0])
            if not image.present:
                detail = (
                    "only verified absences" if image.labels else "listed without a usable label"
                )
                raise ImageRejectedError(RejectReason.NO_LABEL, detail)
        except ImageRejectedError as rejected:
            decided.rejected.append((key, rejected.reason, rejected.detail))
        else:
            images.append(image)
    return images


def _usable_label(key: str, row: Row, decided: Decided) -> list[tuple[str, float]]:
    if row.label is None:
        return []
    received = "" if row.confidence is None else row.confidence
    name, confidence = normalise_label(row.label), parse_confidence(received)
    if not name:
        decided.rejected.append((key, RejectReason.EMPTY_LABEL, f"received {row.label!r}"))
    elif confidence is None:
        detail = f"label {name!r}: received {received!r}"
        decided.rejected.append((key, RejectReason.BAD_CONFIDENCE, detail))
    elif confidence > 0 and not np.float32(confidence):
        detail = (
            f"label {name!r}: received {received!r}; write 0 if it is absent, or at least 1e-45"
        )
        decided.rejected.append((key, RejectReason.TINY_CONFIDENCE, detail))
    else:
        return [(name, confidence)]
    return []


def _looked_at(images: list[Image], files: Mapping[str, File], decided: Decided) -> list[Image]:
    for image in images:
        image.file = files[image.image_id]
        if image.file.reason is not None:
            decided.rejected.append((image.image_id, image.file.reason, "of the file"))
    return [image for image in images if image.file.reason is None]


def _without_equal_files(images: list[Image], decided: Decided) -> list[Image]:
    kept: dict[bytes, Image] = {}
    for image in sorted(images, key=lambda image: image.image_id):
        first = kept.setdefault(image.file.digest, image)
        if first is not image:
            first.take(image.labels.items(), image.groups)
            decided.duplicates.append((image.image_id, first.image_id))
    return list(kept.values())


def _with_frequent_labels(images: list[Image], minimum: int, decided: Decided) -> list[Image]:
    counts = Counter(name for image in images for name in image.present)
    for image in images:
        image.labels = {
            name: value for name, value in image.labels.items() if counts[name] >= minimum
        }
        # A label that is only known to be absent is on no image.
        image.labels = {name: value for name, value in image.labels.items() if counts[name]}
        if not image.present:
            detail = f"none of its labels is on {minimum} images (labels.minimum_count)"
            decided.rejected.append((image.image_id, RejectReason.NO_LABEL_LEFT, detail))
    return [image for image in images if image.present]


def _groups(images: list[Image], config: HeldoutConfig) -> list[list[Image]]:
    """Images that may not be parted; each is told its place."""

    def token(image: Image) -> str:
        if config.duplicate_distance is None:
            return f"image {image.image_id}"
        return f"look {image.file.look:016x}"

    edges = [(token(image), f"group {group}") for image in images for group in image.groups]
    for one, other in combinations(images, 2):
        looks = one.file.look, other.file.look
        if (
            config.duplicate_distance
            and min(look.bit_count() for look in looks) >= MIN_SET_BITS
            and (looks[0] ^ looks[1]).bit_count() <= config.duplicate_distance
        ):
            edges.append((token(one), token(other)))
    names = {token(image): token(image) for image in images}
    names |= {node: node for edge in edges for node in edge}
    while True:  # The smallest name of a group spreads along its edges.
        before = dict(names)
        for node, tied in edges:
            names[node] = names[tied] = min(names[node], names[tied])
        if names == before:
            break
    groups = defaultdict(list)
    for image in images:
        image.place = stable_hash(names[token(image)], config.salt)
        groups[image.place].append(image)
    return list(groups.values())


def _choose_sides(groups: list[list[Image]], config: HeldoutConfig) -> None:
    minimum = config.minimum_labels

    def dense(group: list[Image], known: set[str] | None = None) -> bool:
        return all(
            len(image.present if known is None else image.present & known) >= minimum
            for image in group
        )

    def small(group: list[Image]) -> bool:
        return len(group) <= config.largest_group

    sizes = {group[0].place: len(group) for group in groups if dense(group) and small(group)}
    cut = _cut(sizes, config.size)
    seen: set[str] = set()
    for group in groups:
        if group[0].place >= cut or not dense(group):
            seen.update(*(image.present for image in group))
    for group in groups:
        heldout = group[0].place < cut and small(group) and dense(group, seen)
        for image in group:
            image.heldout = heldout


def _cut(sizes: dict[int, int], size: float) -> int:
    if size < 1:
        return int(size * HASH_RANGE)
    cut, taken = 0, 0
    for place in sorted(sizes):
        if taken >= size:
            break
        cut, taken = place + 1, taken + sizes[place]
    return cut


def _plan(images: list[Image], config: ShardConfig, decided: Decided) -> None:
    counts = {
        heldout: Counter(
            name for image in images if image.heldout == heldout for name in image.present
        )
        for heldout in (False, True)
    }
    names = sorted(counts[False])
    decided.classes = [(name, counts[False][name], counts[True][name]) for name in names]
    ids = {name: number for number, name in enumerate(names)}
    for heldout, side in ((False, "train"), (True, "heldout")):
        mine = [image for image in images if image.heldout == heldout]
        stored = sum(image.file.stored_bytes for image in mine)
        decided.sides[side] = len(mine), stored
        if config.images_per_shard is not None:
            shards = math.ceil(len(mine) / config.images_per_shard)
        else:
            shards = min(len(mine), max(1, math.ceil(stored / config.bytes_per_shard)))
        for image in sorted(mine, key=lambda i: (stable_hash(i.image_id, "order"), i.image_id)):
            shard = stable_hash(image.image_id, "shard") % shards
            items = decided.work_items.setdefault(f"{side}-{shard:05d}-of-{shards:05d}", [])
            items.append(_record(image, ids))


def _record(image: Image, ids: Mapping[str, int]) -> Record:
    known: list[tuple[int, Any]] = sorted(
        (ids[name], value) for name, value in image.labels.items() if name in ids
    )
    return Record(
        image_id=image.image_id,
        digest=image.file.digest.hex(),
        label_ids=[number for number, value in known if value > 0],
        confidences=[value for _, value in known if value > 0],
        negative_ids=[number for number, value in known if value == 0],
        near_duplicate_group=image.place,
    )
