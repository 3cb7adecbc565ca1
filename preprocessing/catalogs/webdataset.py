"""WebDataset: samples in tars, as WebDataset's own writer, img2dataset and Hugging Face make them.

The image `train-000000.tar/n01/000123.jpg` is a file of a tar; its labels are in those files of the
tar whose names are the same up to the first dot.
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pyarrow as pa

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.location import open_catalog
from manylabel.preprocessing.catalogs.rows import BATCH_BYTES, BATCH_ROWS, raw_table
from manylabel.preprocessing.catalogs.sample_files import (
    MAX_LABEL_BYTES,
    Labels,
    LabelsError,
    json_keys,
    label_extensions,
    parse_labels,
    picture_extensions,
    split_name,
)
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.tars import (
    Kind,
    Member,
    Read,
    TarError,
    TarIndex,
    make_index,
    walk_tar,
)
from manylabel.preprocessing.tars.reading import reader_of
from manylabel.storage.errors import printable

MAX_WAITING = 1_000_000
MAX_WAITING_BYTES = 256 << 20
"""Samples whose files do not stand together in a tar, and the bytes of their labels."""

_LOOKED_AT = 1000
"""Files of a tar in which nothing was found, to say what is there instead."""

_SHOWN = 20


@dataclass
class Sample:
    """Files of a tar with one key.

    Attributes:
        key: What their names have in common.
        pictures: Names of its pictures, by their extensions.
        labels: Of all its files with labels; None while it has none.
        label_bytes: Of these files.
    """

    key: str
    pictures: dict[str, str] = field(default_factory=dict)
    labels: Labels | None = None
    label_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        return bool(self.pictures) and self.labels is not None

    def merge(self, later: "Sample") -> None:
        """Takes in files of the same key that stand elsewhere in the tar."""
        self.pictures |= later.pictures
        self.label_bytes += later.label_bytes
        if later.labels is not None:
            self.labels = [*(self.labels or []), *later.labels]


def read_webdataset(config: CatalogConfig, tar: str) -> Iterator[pa.Table]:
    """Tables of `rows.raw_table`: of each sample its picture with each of its labels.

    A sample without labels has one row without one, and a sample without a picture rows of an image
    that is not there: both are rejected later, where they are counted. So are pictures of a sample
    beside its own: they are listed without labels.

    Args:
        config: What is read of a sample; the path is that of the one tar.
        tar: Its path as images have it, below the image root.

    Raises:
        PreprocessingError: the tar is damaged, or a file of labels is none; names both.
    """
    preferred = picture_extensions(config)
    images: list[str] = []
    labels: list[str | None] = []
    confidences: list[float] = []
    size = 0
    for sample in read_samples(config):
        own, *others = sorted(sample.pictures, key=preferred.index) or [""]
        image = f"{tar}/{sample.pictures.get(own, sample.key)}"
        rows: list[tuple[str, str | None, float]]
        rows = [(image, *label) for label in sample.labels or ()] or [(image, None, 1.0)]
        rows += ((f"{tar}/{sample.pictures[other]}", None, 1.0) for other in others)
        for row in rows:
            if len(images) == BATCH_ROWS or size > BATCH_BYTES:
                yield _table(images, labels, confidences)
                images, labels, confidences, size = [], [], [], 0
            images.append(row[0])
            labels.append(row[1])
            confidences.append(row[2])
            size += len(row[0]) + len(row[1] or "")
    if images:
        yield _table(images, labels, confidences)


def check_samples(config: CatalogConfig) -> None:
    """Reads a tar as far as to the first sample that has what the settings say.

    Args:
        config: Of the one tar.

    Raises:
        PreprocessingError: none has; says what there is instead, and what to set.
    """
    count = pictures = 0
    for sample in read_samples(config):
        if sample.pictures and sample.labels:
            return
        count += 1
        pictures += bool(sample.pictures)
    if count:
        lacks = "labels" if pictures else "pictures"
        raise PreprocessingError(
            f"{config.path}: {printable(_what_is_there(config, count, lacks))}"
        )


def read_samples(config: CatalogConfig) -> Iterator[Sample]:
    """Every sample of a tar, where its last file is seen; those that lack something at the end.

    Args:
        config: Of the one tar.

    Raises:
        PreprocessingError: as `read_webdataset`.
    """
    with open_catalog(config) as file:
        try:
            yield from _Samples(config, *reader_of(file)).read()
        except TarError as error:
            raise PreprocessingError(f"{config.path}: {printable(str(error))}") from error


class _Samples:
    """What is known of a tar while its members are read in order."""

    def __init__(self, config: CatalogConfig, read: Read, size: int) -> None:
        self._config = config
        self._read = read
        self._size = size
        self._pictures = picture_extensions(config)
        self._labels = label_extensions(config)
        self._waiting: dict[str, Sample] = {}
        self._waiting_bytes = 0
        self._strays: set[str] = set()
        self._given = array("q")  # Hashes of the keys of whole samples.
        self._index: TarIndex | None = None  # Once there is a link.

    def read(self) -> Iterator[Sample]:
        sample: Sample | None = None
        for member, key, extension in self._files():
            if sample is not None and key != sample.key:
                yield from self._settle(sample)
                sample = None
            sample = sample or Sample(key)
            self._add(sample, member, extension)
        if sample is not None:
            yield from self._settle(sample)
        self._check_names()
        yield from self._waiting.values()
        if self._strays:
            for _, key, extension in self._files():
                if extension in self._pictures or extension in self._labels:
                    self._strays.discard(key)
        yield from map(Sample, sorted(self._strays))

    def _files(self) -> Iterator[tuple[Member, str, str]]:
        for member in walk_tar(self._read, self._size):
            name = None if member.kind is Kind.OTHER else split_name(member.name)
            if name is not None:
                yield member, *name

    def _add(self, sample: Sample, member: Member, extension: str) -> None:
        if extension in self._pictures:
            sample.pictures[extension] = member.name
        elif extension in self._labels:
            data = self._content(member)
            sample.label_bytes += len(data)
            try:
                found = parse_labels(data, extension, self._config)
            except LabelsError as error:
                raise TarError(f"{member.name}: {error}") from error
            sample.labels = [*(sample.labels or []), *found]

    def _check_names(self) -> None:
        """Of two samples with a picture of one name only the last one's could be found, for the
        labels of both."""
        hashes, counts = np.unique(np.array(self._given, np.int64), return_counts=True)
        several = set(hashes[counts > 1].tolist())
        if not several:
            return
        names: Counter[str] = Counter()
        for member, key, extension in self._files():
            if extension in self._pictures and hash(key) in several:
                names[member.name] += 1
                if names[member.name] > 1:
                    raise TarError(
                        f"{member.name}: expected one sample with a picture of this name, "
                        "received several, as where tars were put together; write them as tars of "
                        "their own"
                    )

    def _content(self, member: Member) -> bytes:
        """Of a file with labels, which may be a link to another one."""
        found: Member | None = member
        if member.kind is Kind.LINK:
            self._index = self._index or make_index(self._read, self._size)
            found = self._index.find(member.name, self._read)
        if found is None or found.kind is not Kind.FILE:
            raise TarError(f"{member.name}: expected a file, received {member.kind.value}")
        if found.size > MAX_LABEL_BYTES:
            raise TarError(
                f"{member.name}: expected labels, received a file of {found.size:,} bytes; "
                f"{MAX_LABEL_BYTES:,} are read at most"
            )
        return self._read(found.offset, found.size)

    def _settle(self, sample: Sample) -> Iterator[Sample]:
        """Gives a sample once it has what it needs; its other files may stand elsewhere."""
        if not sample.pictures and sample.labels is None:
            self._strays.add(sample.key)
        else:
            if earlier := self._waiting.pop(sample.key, None):
                self._waiting_bytes -= earlier.label_bytes
                earlier.merge(sample)
                sample = earlier
            if sample.is_whole:
                self._given.append(hash(sample.key))
                yield sample
                return
            self._waiting[sample.key] = sample
            self._waiting_bytes += sample.label_bytes
        waiting = len(self._waiting) + len(self._strays)
        if waiting > MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            raise TarError(
                f"expected the files of a sample side by side, received {waiting:,} samples whose "
                "files are apart; write the tar with tar --sort=name"
            )


def _what_is_there(config: CatalogConfig, count: int, lacks: str) -> str:
    """Why no sample of a tar has pictures or labels."""
    extensions: set[str] = set()
    keys: list[str] = []
    with open_catalog(config) as file:
        read, size = reader_of(file)
        for member in islice(walk_tar(read, size), _LOOKED_AT):
            name = split_name(member.name)
            if name is not None and member.kind is Kind.FILE:
                extensions.add(name[1])
                if name[1] == "json" and not keys and member.size <= MAX_LABEL_BYTES:
                    keys = json_keys(read(member.offset, member.size))
    section = f"{config.SECTION}.webdataset"
    there = ", ".join(sorted(extensions)[:_SHOWN]) or "none"
    if lacks == "pictures":
        expected, hint = picture_extensions(config), f"set {section}.picture to one of them"
    else:
        expected = label_extensions(config)
        hint = f"set {section}.labels to the one with labels"
        if keys:
            shown = ", ".join(keys[:_SHOWN])
            hint += f", or {section}.label_key to a key of the JSON: {shown}"
    wanted = ", ".join(expected[:_SHOWN])
    if lacks == "labels" and config.webdataset.label_key is not None:
        wanted += f" at {config.webdataset.label_key!r}"
    return (
        f"expected {lacks} in files that end in {wanted}, received {count:,} samples without any, "
        f"of files that end, from the first dot of their names on, in {there}; {hint}"
    )


def _table(images: list[str], labels: list[str | None], confidences: list[float]) -> pa.Table:
    return raw_table(
        pa.array(images, pa.string()),
        pa.array(labels, pa.string()),
        pa.array(confidences, pa.float64()),
        None,
    )
