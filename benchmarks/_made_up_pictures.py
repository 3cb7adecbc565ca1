"""Facts of pictures that do not exist, as if they had been read: a function of the picture's name.

Names are `3f/3fa94c0e51d2b786.jpg`: a number below 2^64, scattered, so that they compress and sort
as names of real collections do and still say which picture it is. Imports nothing of ours, so that
the same facts can be given to any version of the code.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

EQUAL_FILES = 0.02  # of the pictures: another name for the file of the picture before
NEAR_LOOKS = 0.01  # one or two bits away from the look of the picture before
BLANK_LOOKS = 0.04  # white pages: half of them without any bit, the others with a few
ONE_BAND = 0.05  # where asked for: looks of one background, 21 bits of 64 equal
BAND_BITS = 0x1555A5
"""Of that background. As many bits as each of three bands has, which is what a distance of 2 needs;
not plain, since a plain one could be left out of the search."""
LEAST_BYTES, MOST_BYTES = 20_000, 60_000

_WORD = np.uint64(0xFFFFFFFFFFFFFFFF)
_FACTORS = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # of the finaliser of SplitMix64
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_NAME = len("3f/3fa94c0e51d2b786.jpg")

Words = NDArray[np.uint64]


class Facts(NamedTuple):
    """What is known of pictures once they have been read.

    Attributes:
        digests: uint8 [n, 16].
        looks: uint64 [n].
        stored_bytes: int64 [n].
    """

    digests: NDArray[np.uint8]
    looks: Words
    stored_bytes: NDArray[np.int64]


def names_of(numbers: Words) -> pa.Array:
    """Names of pictures; `numbers_of` turns them back."""
    words = _scatter(numbers)
    texts = np.empty((len(words), _NAME), np.uint8)
    texts[:] = np.frombuffer(b"../0123456789abcdef.jpg", np.uint8)
    for digit in range(16):
        texts[:, 3 + digit] = _DIGITS[(words >> np.uint64(60 - 4 * digit)) & np.uint64(15)]
    texts[:, :2] = texts[:, 3:5]
    ends = np.arange(0, texts.size + 1, _NAME, dtype=np.int32)
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(ends), pa.py_buffer(texts))


def numbers_of(names: pa.Array) -> Words:
    """The numbers that `names_of` was given."""
    _, ends, data = names.buffers()
    begin, end = np.frombuffer(ends, np.int32)[[names.offset, names.offset + len(names)]]
    texts = np.frombuffer(data, np.uint8)[begin:end].reshape(len(names), _NAME)
    words = np.zeros(len(names), np.uint64)
    for digit in range(16):
        code = texts[:, 3 + digit]
        value = code - np.where(code > ord("9"), ord("a") - 10, ord("0")).astype(np.uint8)
        words = (words << np.uint64(4)) | value
    return _gather(words)


def facts_of(names: pa.Array, one_band: bool = False) -> Facts:
    """The facts of pictures, each from its name alone."""
    numbers = numbers_of(names)
    file = numbers - (_chance(numbers, 0) < EQUAL_FILES).astype(np.uint64)
    kind = _chance(file, 1)
    near = kind < NEAR_LOOKS
    looks = _look(file - near.astype(np.uint64), one_band)
    for salt in (2, 3):  # The same bit twice: an equal look.
        bits = np.uint64(1) << (_random(file, salt) & np.uint64(63))
        looks ^= np.where(near, bits, np.uint64(0))
    digests = np.stack([_random(file, 4), _random(file, 5)], axis=1).view(np.uint8)
    spread = _random(file, 6) % np.uint64(MOST_BYTES - LEAST_BYTES)
    return Facts(digests, looks, spread.astype(np.int64) + LEAST_BYTES)


def _look(files: Words, one_band: bool) -> Words:
    """The look of each file, were it not near to another."""
    looks = _random(files, 7)
    kind = _chance(files, 8)
    few = looks & _random(files, 9) & _random(files, 10) & _random(files, 11) & _random(files, 12)
    looks = np.where(kind < BLANK_LOOKS, few, looks)
    looks[kind < BLANK_LOOKS / 2] = 0
    if one_band:
        banded = (kind >= BLANK_LOOKS) & (kind < BLANK_LOOKS + ONE_BAND)
        looks[banded] = (looks[banded] & np.uint64(_WORD << np.uint64(21))) | np.uint64(BAND_BITS)
    return looks


def _random(numbers: Words, salt: int) -> Words:
    return _scatter(numbers ^ _scatter(np.array([salt], np.uint64)))


def _chance(numbers: Words, salt: int) -> NDArray[np.float64]:
    """Even in [0, 1)."""
    return (_random(numbers, salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _scatter(numbers: Words) -> Words:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014), after its step: one to one."""
    words = numbers + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(_FACTORS[0])
    words = (words ^ (words >> np.uint64(27))) * np.uint64(_FACTORS[1])
    return words ^ (words >> np.uint64(31))


def _gather(words: Words) -> Words:
    """The inverse of `_scatter`."""
    first, second = (np.uint64(pow(factor, -1, 1 << 64)) for factor in _FACTORS)
    words = (words ^ (words >> np.uint64(31)) ^ (words >> np.uint64(62))) * second
    words = (words ^ (words >> np.uint64(27)) ^ (words >> np.uint64(54))) * first
    words = words ^ (words >> np.uint64(30)) ^ (words >> np.uint64(60))
    return words - np.uint64(0x9E3779B97F4A7C15)


def facts_by_name(names: pa.Array, one_band: bool = False) -> dict[str, tuple[str, bytes]]:
    """The digest, in hexadecimal, and the look of each picture, as code that asks for one picture
    at a time has them."""
    facts = facts_of(names, one_band)
    looks = np.ascontiguousarray(facts.looks.astype(">u8")).view("V8").tolist()
    digests: list[Any] = [digest.tobytes().hex() for digest in facts.digests]
    return dict(zip(names.to_pylist(), zip(digests, looks, strict=True), strict=True))
