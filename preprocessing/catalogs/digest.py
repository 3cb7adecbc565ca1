"""What a catalog lists, as one number."""

import hashlib
import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from manylabel.preprocessing.catalog_config import CatalogConfig, CatalogFormat
from manylabel.preprocessing.catalogs.files import catalog_files, one_file, tar_names
from manylabel.preprocessing.catalogs.folder import walk_folder
from manylabel.preprocessing.catalogs.location import detect_format, open_catalog

_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True)
class CatalogDigest:
    """What tells one catalog from another.

    Attributes:
        sha256: Hexadecimal; of a file's bytes, of the names and digests of tars or of several
            files, or of all paths that a folder tree lists.
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
    read = 0

    def digest_of(blocks: Iterator[bytes]) -> str:
        nonlocal read
        digest = hashlib.sha256()
        for block in blocks:
            digest.update(block)
            read += len(block)
            on_bytes(read)
        return digest.hexdigest()

    found = detect_format(config)
    if found is CatalogFormat.FOLDER:
        return CatalogDigest(digest_of(_listing(config, left_out)), dict(sorted(left_out.items())))
    files = catalog_files(config)
    digests = [digest_of(_content(one_file(config, file))) for file in files]
    if found is CatalogFormat.WEBDATASET:
        names = tar_names(config, files)  # The images' names begin with them.
    elif files == [config.path]:
        return CatalogDigest(digests[0])
    else:
        names = [_name(file, config) for file in files]
    named = [f"{name}\0{digest}\0" for name, digest in zip(names, digests, strict=True)]
    return CatalogDigest(hashlib.sha256(os.fsencode("".join(named))).hexdigest())


def _name(file: str, config: CatalogConfig) -> str:
    """Of one of several files, wherever they lie."""
    return (
        posixpath.relpath(file, config.path)
        if file.startswith(config.path)
        else posixpath.basename(file)
    )


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
