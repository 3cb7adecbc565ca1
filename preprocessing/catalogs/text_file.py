"""Catalogs that are text: opened, unpacked, and known by their first bytes for what they are."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.kinds import HEAD_BYTES, Kind, kind_of
from manylabel.preprocessing.catalogs.location import open_catalog
from manylabel.preprocessing.errors import PreprocessingError

MAX_LINE_BYTES = 16 << 20
"""Past it a file of another kind is likelier than a line of text."""

_GZIP = b"\x1f\x8b"


@contextmanager
def open_text(config: CatalogConfig, expected: str) -> Iterator[BinaryIO]:
    """A catalog for reading from its start, unpacked if its bytes, whatever its name, are gzip's.

    It is unpacked as it is read, so memory does not grow with what is packed.

    Args:
        config: Which file.
        expected: What it is to be, for errors.

    Raises:
        PreprocessingError: it is another kind of file, or gzip that is cut short or damaged; also
            inside of the block.
        OSError: the storage failed, here or inside of the block.
    """
    with open_catalog(config) as stored:
        file = io.BufferedReader(cast(io.RawIOBase, stored), HEAD_BYTES)
        packed = file.peek(len(_GZIP)).startswith(_GZIP)
        try:
            if packed:
                file = io.BufferedReader(
                    cast(io.RawIOBase, gzip.GzipFile(fileobj=file)), HEAD_BYTES
                )
            kind = kind_of(file.peek(HEAD_BYTES)[:HEAD_BYTES])
            if kind is not None:
                raise other_kind(config, expected, kind)
            yield cast(BinaryIO, file)
        except EOFError as error:
            raise PreprocessingError(
                f"{config.path}: expected {expected} packed with gzip, received a file that is cut "
                "short; copy or download it again"
            ) from error
        except (zlib.error, gzip.BadGzipFile) as error:
            raise PreprocessingError(
                f"{config.path}: expected {expected} packed with gzip, received damage ({error}); "
                "copy or download it again"
            ) from error


def other_kind(config: CatalogConfig, expected: str, kind: Kind) -> PreprocessingError:
    """The error for a file that is something else."""
    remedy = kind.remedy.replace("SECTION", config.SECTION)
    return PreprocessingError(f"{config.path}: expected {expected}, received {kind.name}; {remedy}")
