"""Which bytes are accepted as an image.

Everything is judged by content, never by a file's name. The header is read first and its size
bounded; only then are pixels decoded.
"""

import io
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.pictures.fetch import shown
from manylabel.preprocessing.pictures.metadata import bare
from manylabel.preprocessing.pictures.remarks import remarks_of_pillow
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.storage.errors import described
from manylabel.storage.image_policy import JPEG_SIDE_LIMIT, ImageConfig
from manylabel.storage.stand_ins import HEAD_BYTES, text_instead

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

MOST_SCANS = 100
"""Of a JPEG; encoders write 10, optimisers some 30. Each costs a pass over all pixels, and one that
says nothing takes a dozen bytes: a file of kilobytes would hold a worker for hours."""

_T = TypeVar("_T")
_Work = Callable[[Image.Image, bytes, ImageConfig], _T]

_MAY_BE_METADATA = (RejectReason.UNDECODABLE, RejectReason.NOT_AN_IMAGE)
_SCAN = b"\xff\xda"
# Neither an escaped 0xFF, a restart, nor a byte that fills up; after it, a segment's length.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_WITHOUT_LENGTH = (0x01, 0xD8)
_END_OF_IMAGE = 0xD9


def with_image(data: bytes, policy: ImageConfig, work: _Work[_T]) -> tuple[_T, list[str]]:
    """What `work` makes of an image whose header was found acceptable, and remarks on the image.

    A file of which the decoder refuses the metadata is read without them: `work` is then given
    those bytes.

    Raises:
        ImageRejectedError: the image fails the policy, or cannot be decoded.
        MemoryError: there is too little, which is not the image's fault.
    """
    with remarks_of_pillow() as remarks:
        try:
            return _attempt(data, policy, work), remarks
        except ImageRejectedError as rejected:
            without = bare(data) if rejected.reason in _MAY_BE_METADATA else data
            if without == data:
                raise
            try:
                result = _attempt(without, policy, work)
            except ImageRejectedError:
                raise rejected from rejected.__cause__
            return result, [*remarks, f"read without its metadata: {rejected.detail}"]


@contextmanager
def memory_for(image_id: str) -> Iterator[None]:
    """Names the image that there is too little memory for; that says nothing about the image.

    Raises:
        PreprocessingError: instead of MemoryError.
    """
    try:
        yield
    except MemoryError as error:
        raise PreprocessingError(
            f"{shown(image_id)}: expected memory for its pixels, received too little; give the job "
            "more, or lower preprocessing.runner.processes, and run again: finished work is kept"
        ) from error


def _attempt(data: bytes, policy: ImageConfig, work: _Work[_T]) -> _T:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.width, image.height, policy)
            if image.format in ("JPEG", "MPO"):
                _check_scans(data)
            return work(image, data, policy)
    except (ImageRejectedError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        received = text_instead(data[:HEAD_BYTES]) or f"{data[:16]!r}..."
        expected = f"expected one of {', '.join(FORMATS)}, received {received}"
        raise ImageRejectedError(RejectReason.NOT_AN_IMAGE, expected) from error
    except Image.DecompressionBombError as error:
        raise ImageRejectedError(RejectReason.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:
        # Decoders meet damage with OSError, SyntaxError, ValueError, EOFError, struct.error and
        # others; whatever it was, this image is rejected, counted and named.
        detail = described(error)
        raise ImageRejectedError(RejectReason.UNDECODABLE, detail) from error


def _check_size(width: int, height: int, policy: ImageConfig) -> None:
    short, long = sorted((width, height))
    if width * height > policy.max_pixels:
        detail = f"{width}x{height}, images.max_pixels is {policy.max_pixels}"
        raise ImageRejectedError(RejectReason.TOO_MANY_PIXELS, detail)
    if long > JPEG_SIDE_LIMIT:
        detail = f"{width}x{height}, a JPEG's sides have at most {JPEG_SIDE_LIMIT} pixels"
        raise ImageRejectedError(RejectReason.TOO_LONG, detail)
    if short < policy.min_side:
        detail = f"{width}x{height}, images.min_side is {policy.min_side}"
        raise ImageRejectedError(RejectReason.TOO_SMALL, detail)
    if long > short * policy.max_aspect_ratio:
        detail = f"{width}x{height}, images.max_aspect_ratio is {policy.max_aspect_ratio:g}"
        raise ImageRejectedError(RejectReason.TOO_LONG, detail)


def _check_scans(data: bytes) -> None:
    # The first count is quick, and of too many where other pictures or films are within the file.
    if data.count(_SCAN) > MOST_SCANS and _count_scans(data) > MOST_SCANS:
        detail = f"expected a JPEG of at most {MOST_SCANS} scans, received more"
        raise ImageRejectedError(RejectReason.UNDECODABLE, detail)


def _count_scans(data: bytes) -> int:
    """Up to the end of the first image."""
    scans, place = 0, 2
    while (found := _MARKER.search(data, place)) is not None:
        marker, place = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            break
        scans += marker == _SCAN[1]
        if marker not in _WITHOUT_LENGTH and place + 2 <= len(data):
            place += struct.unpack_from(">H", data, place)[0]
    return scans
