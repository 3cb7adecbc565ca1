"""Which images are held out, in the manner of FastEval14k: densely labelled ones, kept apart.

Images are moved in groups: what looks alike or shares a value of the group column stays on one
side. A group's place is a hash of its name alone, so adding images to a catalog moves few others.
"""

import hashlib
from collections.abc import Collection, Iterable

from manylabel.preprocessing.config import HeldoutConfig
from manylabel.preprocessing.labels import present
from manylabel.preprocessing.listing import Candidate

HASH_RANGE = 1 << 63
"""Hashes fit a signed integer of 64 bits, as Beam and Parquet want them."""


def stable_hash(key: str, purpose: str) -> int:
    """An integer in [0, HASH_RANGE) that depends on its arguments only.

    BLAKE2b is in every Python and specified to the bit; Python's own `hash` of a text changes from
    process to process. `purpose` makes independent hashes of the same keys.
    """
    digest = hashlib.blake2b(f"{purpose}\0{key}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big") % HASH_RANGE


def own_token(candidate: Candidate, config: HeldoutConfig) -> str:
    """What an image shares with images that may not be parted from it: its look, or its path."""
    if config.duplicate_distance is None:
        return f"image {candidate.image_id}"
    return hash_token(candidate.perceptual_hash)


def hash_token(perceptual_hash: bytes) -> str:
    return f"look {perceptual_hash.hex()}"


def group_edges(candidate: Candidate, config: HeldoutConfig) -> list[tuple[str, str]]:
    """Ties an image to the values of its group column.

    "group" sorts before "look" and "image", so a component that has a group value is named by it
    and its side depends on that value.
    """
    own = own_token(candidate, config)
    return [(own, f"group {group}") for group in candidate.groups]


def qualifies(images: Iterable[Candidate], known: Collection[str] | None, minimum: int) -> bool:
    """Whether every image of a group has at least `minimum` labels (among the known, if given)."""
    return all(
        sum(known is None or name in known for name in present(image.labels)) >= minimum
        for image in images
    )


def find_cut(groups: Iterable[tuple[int, int]], size: float) -> int:
    """The hash below which (exclusive) a group that qualifies is held out.

    Args:
        groups: (hash, number of images) of each group that qualifies.
        size: `HeldoutConfig.size`. A fraction is a threshold on the hash alone; for a number,
            groups are taken in order of hash until they have that many images.
    """
    if size < 1:
        return int(size * HASH_RANGE)
    cut, taken = 0, 0
    for place, images in sorted(groups):
        if taken >= size:
            break
        cut, taken = place + 1, taken + images
    return cut


def shard_number(image_id: str, shards: int) -> int:
    """The shard of an image, in [0, shards)."""
    return stable_hash(image_id, "shard") % shards


def record_order(image_id: str) -> tuple[int, str]:
    """Sort key of the records in a shard, which are so shuffled once and for all."""
    return stable_hash(image_id, "order"), image_id
