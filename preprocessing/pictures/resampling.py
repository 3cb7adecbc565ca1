"""Reducing pictures: separable convolution in integers, as compiled loops.

Lanczos gives the bytes of Pillow's `resize` with its filter of that name, in a quarter of its time
(docs/design/0011-reducing-pictures.md): its weights in 22 bits (Pillow's Resample.c), rows first,
rounded to 8 bits in between. So datasets made with it keep their bytes, and those of all machines
are alike.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manylabel.storage.compiled import compiled
from manylabel.storage.image_policy import Resampling

_BITS = 22
"""Of a weight of 1: a sum of products with 255 stays within 32 bits."""

_HALF = 1 << (_BITS - 1)
_TILE = 16
"""Lines that are turned together: four values of each fill eight SIMD registers of 8 numbers."""

_BAND_LINES = 256
"""Lines that are copied out of a picture together; all of 50 megapixels would be 200 MB more."""

_LOBES = 3
_GAP = 3.0
"""Beyond twice this ratio whole pixels are averaged first until this is left, as with Pillow's
`reducing_gap`: what Lanczos takes of them then differs little, and costs a fraction."""


class _Weights(NamedTuple):
    """How values along a line make up each value of a shorter one.

    firsts, counts: int64 [new], of the old values that have a part in it.
    weights: int32 [new, most], of 2^22; beyond a count they are 0.
    """

    firsts: NDArray[np.int64]
    counts: NDArray[np.int64]
    weights: NDArray[np.int32]


def reduced(picture: Image.Image, size: tuple[int, int], resampling: Resampling) -> Image.Image:
    """An RGB picture in a smaller size (width, height), in pixels; a side may also stay."""
    extents = (float(picture.width), float(picture.height))
    if resampling is Resampling.LANCZOS:
        width, height = (
            int(old / new / _GAP) or 1 for old, new in zip(picture.size, size, strict=True)
        )
        if width > 1 or height > 1:
            # In 32 bits, as Pillow holds the box that it reduces.
            extents = (
                float(np.float32(picture.width / width)),
                float(np.float32(picture.height / height)),
            )
            picture = picture.reduce((width, height))
    width, height = size
    across = _weights(picture.width, extents[0], width, resampling)
    down = _weights(picture.height, extents[1], height, resampling)
    narrow = np.empty((picture.height, width), np.uint32)
    line = 0
    for band in _bands(picture):
        _reduce_lines(band, *across, narrow[line : line + len(band)])
        line += len(band)
    small = np.empty((height, width), np.uint32)
    _reduce_columns(narrow.view(np.uint8), *down, small.view(np.uint8))
    return Image.frombytes("RGB", size, small.tobytes(), "raw", "RGBX")


def _bands(picture: Image.Image) -> Iterator[NDArray[np.uint32]]:
    """Some lines [lines, width] at a time, in each number the four bytes R, G, B and another."""
    for top in range(0, picture.height, _BAND_LINES):
        bottom = min(top + _BAND_LINES, picture.height)
        band = picture.crop((0, top, picture.width, bottom))
        values = np.frombuffer(band.tobytes("raw", "RGBX"), np.uint32)
        yield values.reshape(band.height, band.width)


@lru_cache(maxsize=256)
def _weights(old: int, extent: float, new: int, resampling: Resampling) -> _Weights:
    """Of a line.

    Args:
        old: values that there are.
        extent: how many of them the picture is long: the last may be one in part.
        new: values that are wanted.
    """
    scale = extent / new
    share, reach = _FILTERS[resampling](scale)
    centres = (np.arange(new) + 0.5) * scale
    firsts = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    counts = np.minimum((centres + reach + 0.5).astype(np.int64), old) - firsts
    steps = np.arange(counts.max())
    shares = share(firsts[:, np.newaxis] + steps - centres[:, np.newaxis] + 0.5)
    shares[steps >= counts[:, np.newaxis]] = 0
    shares /= shares.sum(axis=1, keepdims=True)
    rounded = np.trunc(shares * (1 << _BITS) + np.copysign(0.5, shares))
    return _Weights(firsts, counts, rounded.astype(np.int32))


_Share = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From the distances of old values' middles, in pixels, to their part in a new value."""


def _lanczos(scale: float) -> tuple[_Share, float]:
    """With the distance from which on it gives nothing."""
    widening = max(scale, 1.0)

    def share(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        x = distance / widening
        inside = (x >= -_LOBES) & (x < _LOBES)
        return np.where(inside, np.sinc(x) * np.sinc(x / _LOBES), 0.0)

    return share, _LOBES * widening


def _area(scale: float) -> tuple[_Share, float]:
    """The length that an old value and a new one have in common, as OpenCV's INTER_AREA."""

    def share(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        left = np.maximum(distance - 0.5, -scale / 2)
        return np.maximum(np.minimum(distance + 0.5, scale / 2) - left, 0.0)

    return share, scale / 2 + 0.5


_FILTERS = {Resampling.LANCZOS: _lanczos, Resampling.AREA: _area}


@compiled()
def _reduce_columns(
    lines: NDArray[np.uint8],
    firsts: NDArray[np.int64],
    counts: NDArray[np.int64],
    weights: NDArray[np.int32],
    new: NDArray[np.uint8],
) -> None:
    """Lines [old, bytes] to fewer lines [new, bytes]."""
    length = lines.shape[1]
    sums = np.empty(length, np.int32)
    for row in range(len(firsts)):
        sums[:] = _HALF
        for step in range(counts[row]):
            weight = weights[row, step]
            line = lines[firsts[row] + step]
            for place in range(length):
                sums[place] += weight * np.int32(line[place])
        for place in range(length):
            new[row, place] = np.uint8(min(max(sums[place] >> _BITS, 0), 255))


@compiled()
def _reduce_lines(
    pixels: NDArray[np.uint32],
    firsts: NDArray[np.int64],
    counts: NDArray[np.int64],
    weights: NDArray[np.int32],
    new: NDArray[np.uint32],
) -> None:
    """Pixels [h, old] to [h, new]: a few lines at a time are turned, reduced and turned back.

    Turned, the pixels of a column lie side by side, and SIMD code works on all of them at once.
    """
    height, width = pixels.shape
    columns = np.zeros((width, _TILE), np.uint32)
    turned = np.empty((len(firsts), _TILE), np.uint32)
    column_bytes, turned_bytes = columns.view(np.uint8), turned.view(np.uint8)
    sums = np.empty(4 * _TILE, np.int32)
    for top in range(0, height, _TILE):
        lines = min(_TILE, height - top)
        for line in range(lines):
            for x in range(width):
                columns[x, line] = pixels[top + line, x]
        for x in range(len(firsts)):
            sums[:] = _HALF
            for step in range(counts[x]):
                weight = weights[x, step]
                column = column_bytes[firsts[x] + step]
                for place in range(4 * _TILE):
                    sums[place] += weight * np.int32(column[place])
            for place in range(4 * _TILE):
                turned_bytes[x, place] = np.uint8(min(max(sums[place] >> _BITS, 0), 255))
        for line in range(lines):
            for x in range(len(firsts)):
                new[top + line, x] = turned[x, line]
