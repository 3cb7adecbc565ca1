"""What a catalog lists, as one number."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from manylabel.preprocessing.catalogs.folder import walk_folder
from manylabel.preprocessing.catalogs.location import detect_format, open_catalog
from manylabel.preprocessing.config import CatalogConfig, CatalogFormat

_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True)
class CatalogDigest:
    """What tells one catalog from another.

    Attributes:
        sha256: Hexadecimal; of a file's bytes, or of all paths that a folder tree lists.
        left_out: How many files and folders of a tree were not looked at, by name (`folder.HIDDEN`
            for all that are hidden): what machines leave, and links into themselves.
    """

    sha256: str
    left_out: Mapping[str, int] = field(default_factory=dict)


def catalog_digest(
    config: CatalogConfig, on_bytes: Callable[[int], None] = lambda _: None
) -> CatalogDigest:
    """Reads the catalog once, whatever its bytes mean.

    Args:
        config: Which catalog.
        on_bytes: Called on the way with the bytes so far.

    Raises:
        PreprocessingError: there is no such catalog.
    """
    left_out: Counter[str] = Counter()
    if detect_format(config) is CatalogFormat.FOLDER:
        blocks = _listing(config, left_out)
    else:
        blocks = _content(config)
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
        on_bytes(size)
    return CatalogDigest(digest.hexdigest(), dict(sorted(left_out.items())))


def _content(config: CatalogConfig) -> Iterator[bytes]:
    with open_catalog(config) as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _listing(config: CatalogConfig, left_out: Counter[str]) -> Iterator[bytes]:
    """Each folder that has files: its path, whether a link led out to it, its files.

    No name holds a NUL or is empty, so no two listings are equal.
    """
    for folder in walk_folder(config, left_out):
        kind = "outside" if folder.outside else "inside"
        yield os.fsencode("\0".join(["/".join(folder.parts), kind, *folder.names, "", ""]))
