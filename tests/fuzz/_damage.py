"""Damage to files: bits, bytes, cuts, blocks, lengths, words of the format, halves of two files."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_LENGTHS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_LONG = (0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF, 1 << 40)

_Draw = Callable[[SearchStrategy[Any]], Any]


@st.composite
def damaged(draw: _Draw, files: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """One of the files, changed in up to four places; seldom in none.

    Args:
        files: Sound ones.
        words: That mean something in their format.
    """
    data = draw(st.sampled_from(files))
    changes = [
        _flip,
        _set,
        _cut,
        _remove,
        _repeat,
        _move,
        _length,
        _splice,
        *([_word] * bool(words)),
    ]
    for _ in range(draw(st.integers(0, 4))):
        if data:
            data = draw(st.sampled_from(changes))(draw, data, files, words)
    return data


def _place(draw: _Draw, data: bytes, room: int = 1) -> int:
    return int(draw(st.integers(0, max(0, len(data) - room))))


def _block(draw: _Draw, data: bytes) -> tuple[int, int]:
    start = _place(draw, data)
    return start, min(len(data), start + draw(st.integers(1, 512)))


def _flip(draw: _Draw, data: bytes, *_: Any) -> bytes:
    at = _place(draw, data)
    return data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]


def _set(draw: _Draw, data: bytes, *_: Any) -> bytes:
    at = _place(draw, data)
    some = draw(st.binary(min_size=1, max_size=8))
    return data[:at] + some + data[at + len(some) :]


def _cut(draw: _Draw, data: bytes, *_: Any) -> bytes:
    return data[: _place(draw, data, 0)]


def _remove(draw: _Draw, data: bytes, *_: Any) -> bytes:
    start, stop = _block(draw, data)
    return data[:start] + data[stop:]


def _repeat(draw: _Draw, data: bytes, *_: Any) -> bytes:
    start, stop = _block(draw, data)
    return data[:start] + data[start:stop] * draw(st.sampled_from((2, 3, 20))) + data[stop:]


def _move(draw: _Draw, data: bytes, *_: Any) -> bytes:
    start, stop = _block(draw, data)
    rest, block = data[:start] + data[stop:], data[start:stop]
    at = _place(draw, rest, 0)
    return rest[:at] + block + rest[at:]


def _length(draw: _Draw, data: bytes, *_: Any) -> bytes:
    size = draw(st.sampled_from((1, 2, 4, 8)))
    value = draw(st.sampled_from(_LENGTHS + _LONG)) & (1 << 8 * size) - 1
    at = _place(draw, data, size)
    return (
        data[:at]
        + value.to_bytes(size, draw(st.sampled_from(("big", "little"))))
        + data[at + size :]
    )


def _splice(draw: _Draw, data: bytes, files: Sequence[bytes], *_: Any) -> bytes:
    other = draw(st.sampled_from(files))
    return data[: _place(draw, data, 0)] + other[_place(draw, other, 0) :]


def _word(draw: _Draw, data: bytes, _: Any, words: Sequence[bytes]) -> bytes:
    at, word = _place(draw, data, 0), draw(st.sampled_from(words))
    return data[:at] + word + data[at + draw(st.sampled_from((0, len(word)))) :]
