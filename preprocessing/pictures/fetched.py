"""Pictures that were fetched, as shards will hold them, from when each is checked until it is in
its shard.

    plan/fetched/3f/3f9c...     a picture, by the BLAKE2b of its URL

A file is three records in TFRecord's framing, what is known of the picture, what its decoder
remarked, and the JPEG: so damage is found, and costs that picture alone.
"""

import hashlib
import struct
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch

from upath import UPath

from manylabel.preprocessing.pictures.images import StoredImage
from manylabel.storage.atomic import TEMPORARY_PATTERN, replacing
from manylabel.storage.errors import CorruptRecordError
from manylabel.storage.tfrecord import iterate_records, read_first_record, write_record

FETCHED_DIRECTORY = "plan/fetched"

_KNOWN = struct.Struct("<16s?QqII")
"""Digest, whether there is a look, look, stored bytes, height, width; the URL follows."""


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """A picture that was fetched.

    Attributes:
        digest: Of the bytes that arrived (`fetch.file_digest`).
        look, stored_bytes: As in `checking.FACTS_SCHEMA`; no look of a picture from a shard.
        remarks: Of its decoder.
    """

    digest: bytes
    look: int | None
    stored_bytes: int
    stored: StoredImage
    remarks: str = ""


class Fetched:
    """The pictures that are kept below a directory; they travel between processes as its name."""

    def __init__(self, directory: UPath) -> None:
        self.directory = directory

    def find(self, url: str) -> FetchedImage | None:
        """What is kept of a URL, whole; None else."""
        path = self._path(url)
        try:
            known, remarks, encoded = iterate_records(path)
        except (FileNotFoundError, CorruptRecordError, ValueError):
            return None
        if known[_KNOWN.size :] != url.encode():
            return None
        digest, has_look, look, stored_bytes, height, width = _KNOWN.unpack(known[: _KNOWN.size])
        stored = StoredImage(encoded, height, width)
        known_look = look if has_look else None
        return FetchedImage(digest, known_look, stored_bytes, stored, remarks.decode())

    def keep(self, url: str, image: FetchedImage) -> None:
        known = _KNOWN.pack(
            image.digest,
            image.look is not None,
            image.look or 0,
            image.stored_bytes,
            image.stored.height,
            image.stored.width,
        )
        with replacing(self._path(url)) as file:
            write_record(file, known + url.encode())
            write_record(file, image.remarks.encode())
            write_record(file, image.stored.encoded)

    def has(self, url: str, *, with_look: bool = False) -> bool:
        """Without looking whether it is whole."""
        path = self._path(url)
        if not with_look:
            return path.is_file()
        try:
            with path.open("rb") as file:
                known = read_first_record(file, _KNOWN.size + len(url.encode()))
        except (FileNotFoundError, CorruptRecordError):
            return False
        return len(known) >= _KNOWN.size and bool(_KNOWN.unpack(known[: _KNOWN.size])[1])

    def drop(self, url: str) -> None:
        """It lies elsewhere now, or is of no use."""
        self._path(url).unlink(missing_ok=True)

    def is_empty(self) -> bool:
        """Whether nothing was ever kept here."""
        return not self.directory.is_dir()

    def remove_leftovers(self) -> None:
        """Deletes what processes that were killed had begun to write."""
        if self.is_empty():
            return
        for folder in self.directory.iterdir():
            with suppress(NotADirectoryError):
                for path in folder.iterdir():
                    if fnmatch(path.name, TEMPORARY_PATTERN):
                        path.unlink(missing_ok=True)

    def remove(self) -> None:
        """All of them; the directory itself may be a link."""
        files = self.directory.fs
        with suppress(FileNotFoundError):
            for entry in files.ls(self.directory.path, detail=False):
                files.rm(entry, recursive=True)

    def _path(self, url: str) -> UPath:
        name = hashlib.blake2b(url.encode(), digest_size=16).hexdigest()
        return self.directory / name[:2] / name
