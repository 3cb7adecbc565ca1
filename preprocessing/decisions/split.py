"""Which images are held out, in the manner of FastEval14k: densely labelled ones, kept apart.

Images are moved in groups, the connected components of looks and of values of the group column. A
group's place is a hash of its name alone, so adding images to a catalog moves few others.

A group is held out when its place is below the cut, it is not too large, and each of its images has
enough labels that training has seen. "Seen" is judged once, by what training has without any group
below the cut; groups that fall short go back to training, which adds to what it has seen and so
leaves all the others good.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.config import HeldoutConfig
from manylabel.preprocessing.decisions.columns import (
    column,
    concat,
    digest_bytes,
    found_in,
    hex_texts,
    numbers,
    run_starts,
)
from manylabel.preprocessing.decisions.components import connected_components
from manylabel.preprocessing.decisions.hashing import HASH_RANGE, hash_texts
from manylabel.preprocessing.decisions.image_labels import Labels

ROOTS = pa.schema([("token", pa.uint64()), ("place", pa.uint64())])
SIZES = pa.schema([("place", pa.uint64()), ("images", pa.int64())])
KEYS = pa.schema([("key", pa.uint64())])


class Stays(StrEnum):
    """Why a group stays in training; the first that holds."""

    TOO_LARGE = "too_large"
    FEW_LABELS = "few_labels"
    NOT_CHOSEN = "not_chosen"
    UNSEEN_LABELS = "unseen_labels"


@dataclass(frozen=True)
class LargeGroups:
    """Groups of more than `heldout.largest_group` images, which are never held out.

    Attributes:
        groups: How many there are.
        images: In these groups together.
        largest: Images of the largest group, too large or not.
    """

    groups: int
    images: int
    largest: int


def with_token(images: pa.Table, config: HeldoutConfig) -> pa.Table:
    """Adds `token`, what an image shares with images that may not be parted from it: its look, or
    else (the start of the digest of) its bytes."""
    if config.duplicate_distance is None:
        tokens = digest_bytes(images)[:, :8].copy().view(">u8")[:, 0].astype(np.uint64)
    else:
        tokens = numbers(images, "look")
    return images.append_column("token", pa.array(tokens))


def place_components(edges: list[pa.Table], salt: str) -> pa.Table:
    """The place of each token that has an edge (ROOTS), sorted by token."""
    tokens, groups, roots = connected_components(edges)
    # "group" sorts before "look", so a component that has a group value is named by it and its
    # side depends on that value.
    names = pa.concat_arrays([_join_texts("group ", groups), _look_names(tokens)])
    used, inverse = np.unique(roots, return_inverse=True)
    places = hash_texts(names.take(pa.array(used)), salt)
    return pa.table([tokens, places[inverse]], schema=ROOTS)


def with_place(images: pa.Table, roots: list[pa.Table], config: HeldoutConfig) -> pa.Table:
    """Adds `place`, the hash of the name of an image's group, in [0, HASH_RANGE).

    Args:
        roots: ROOTS of the images' bucket. A token that is not there is a group of its own.
    """
    if config.duplicate_distance is None and config.catalog is not None:
        # Equal files may be there twice, once on each side: they have one token, so one name.
        names = _join_texts("file ", hex_texts(digest_bytes(images)[:, :8]))
    elif config.duplicate_distance is None:
        names = _join_texts("image ", column(images, "image_id"))
    else:
        names = _look_names(numbers(images, "look"))
    places = hash_texts(names, config.salt)
    known = concat([ROOTS.empty_table(), *roots]).sort_by("token")
    tied, at = found_in(numbers(images, "token"), numbers(known, "token"))
    places[tied] = numbers(known, "place")[at[tied]]
    return images.append_column("place", pa.array(places))


def _look_names(looks: np.ndarray) -> pa.Array:
    digits = np.ascontiguousarray(looks.astype(">u8")).view(np.uint8).reshape(-1, 8)
    return _join_texts("look ", hex_texts(digits))


def _join_texts(prefix: str, texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(prefix, texts, "")


def sort_by_place(images: pa.Table) -> pa.Table:
    return images.take(pa.array(np.argsort(numbers(images, "place"), kind="stable")))


@dataclass(frozen=True)
class _Groups:
    """The groups of images that are sorted by place.

    Attributes:
        places, sizes: Of each group, ascending by place.
        starts: Rows of their first images.
    """

    places: np.ndarray
    sizes: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, images: pa.Table) -> "_Groups":
        place = numbers(images, "place")
        starts = run_starts(place)
        return cls(place[starts], np.diff(np.append(starts, len(place))), starts)

    def all_have(self, minimum: int, labels: Labels) -> np.ndarray:
        """For each group whether each of its images has at least `minimum` of `labels`."""
        enough = labels.per_image(int(self.sizes.sum())) >= minimum
        return np.logical_and.reduceat(enough, self.starts) if len(self.starts) else enough


def qualifying_sizes(images: pa.Table, config: HeldoutConfig) -> pa.Table:
    """Place and size of each group that qualifies (SIZES): those that can matter to `find_cut`.

    Args:
        images: Whole groups, sorted by place.
    """
    if config.size < 1:
        return SIZES.empty_table()
    groups = _Groups.of(images)
    good = groups.all_have(config.minimum_labels, Labels.of(images).present())
    good &= groups.sizes <= config.largest_group
    places, sizes = groups.places[good], groups.sizes[good]
    enough = np.searchsorted(np.cumsum(sizes), config.size) + 1
    return pa.table([places[:enough], sizes[:enough]], schema=SIZES)


def find_cut(sizes: Iterable[pa.Table], size: float) -> int:
    """The place below which (exclusive) a group that qualifies is held out.

    Args:
        sizes: SIZES of each bucket.
        size: `HeldoutConfig.size`. A fraction is a threshold on the place alone; for a number,
            groups are taken in order of place until they have that many images.
    """
    if size < 1:
        return int(size * HASH_RANGE)
    groups = concat([SIZES.empty_table(), *sizes]).sort_by("place")
    taken = np.cumsum(numbers(groups, "images"))
    if not len(taken):
        return 0
    last = min(int(np.searchsorted(taken, size)), len(taken) - 1)
    return int(numbers(groups, "place")[last]) + 1


def surely_seen(images: pa.Table, cut: int, config: HeldoutConfig) -> pa.Table:
    """Labels of the images that stay in training whatever else is decided (KEYS).

    A group that is too large is judged like any other here, so that heldout.largest_group decides
    on large groups alone.
    """
    labels = Labels.of(images).present()
    groups = _Groups.of(images)
    below = (groups.places < np.uint64(cut)) & groups.all_have(config.minimum_labels, labels)
    stays = np.repeat(~below, groups.sizes)
    return pa.table([np.unique(labels.key[stays[labels.image]])], schema=KEYS)


def unite_keys(tables: Iterable[pa.Table]) -> np.ndarray:
    return np.unique(numbers(concat([KEYS.empty_table(), *tables]), "key"))


def decide_sides(images: pa.Table, cut: int, seen: np.ndarray, config: HeldoutConfig) -> pa.Table:
    """Adds `heldout`, whether an image is held out, and `stays`, else the place of the reason in
    `Stays`.

    Args:
        images: Whole groups, sorted by place.
        seen: Keys of the labels that training has seen, sorted.
    """
    labels = Labels.of(images).present()
    groups = _Groups.of(images)
    reasons = {
        Stays.TOO_LARGE: groups.sizes > config.largest_group,
        Stays.FEW_LABELS: ~groups.all_have(config.minimum_labels, labels),
        Stays.NOT_CHOSEN: groups.places >= np.uint64(cut),
        Stays.UNSEEN_LABELS: ~groups.all_have(config.minimum_labels, labels.among(seen)),
    }
    codes = np.select([reasons[reason] for reason in Stays], range(len(Stays)), len(Stays))
    stays = np.repeat(codes.astype(np.int8), groups.sizes)
    images = images.append_column("heldout", pa.array(stays == len(Stays)))
    return images.append_column("stays", pa.array(stays))


def count_stays(images: pa.Table) -> Counter[Stays]:
    """Groups by why they stay in training.

    Args:
        images: Whole groups, sorted by place, as `decide_sides` gives them; of those that another
            catalog says nothing is counted.
    """
    if "stays" not in images.column_names:
        return Counter()
    codes = numbers(images, "stays")[_Groups.of(images).starts]
    counts = np.bincount(codes, minlength=len(Stays)).tolist()
    return Counter({reason: counts[code] for code, reason in enumerate(Stays) if counts[code]})


def find_large_groups(images: pa.Table, config: HeldoutConfig) -> LargeGroups:
    """Of a table of whole groups, sorted by place; where another catalog says what is held out, no
    group is too large."""
    sizes = _Groups.of(images).sizes
    if config.catalog is not None:
        return LargeGroups(0, 0, int(sizes.max(initial=0)))
    large = sizes[sizes > config.largest_group]
    return LargeGroups(len(large), int(large.sum()), int(sizes.max(initial=0)))


def sum_large_groups(several: Iterable[LargeGroups]) -> LargeGroups:
    total = LargeGroups(0, 0, 0)
    for one in several:
        largest = max(total.largest, one.largest)
        total = LargeGroups(total.groups + one.groups, total.images + one.images, largest)
    return total
