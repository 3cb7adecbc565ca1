"""Looking at every picture once: can it be used, what does it look like, how much will it take?

What was found is kept in parts of some thousand images, so that a job that is stopped, for whatever
reason, does not fetch and decode them again:

    plan/checked/00003-000008192.parquet    FACTS_SCHEMA: bucket 3 of the catalog, from image 8,192
    plan/checked/heldout-...                the same of a held-out catalog
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from manylabel.preprocessing.executors import Lost, Task
from manylabel.preprocessing.pictures.fetch import fetch, file_digest
from manylabel.preprocessing.pictures.http_source import HttpSource
from manylabel.preprocessing.pictures.images import examine
from manylabel.preprocessing.pictures.opening import memory_for
from manylabel.preprocessing.progress import Stage
from manylabel.preprocessing.rejections import RETRYABLE, ImageRejectedError, RejectReason
from manylabel.preprocessing.running import here
from manylabel.storage.errors import TableError, UnreachableTableError
from manylabel.storage.image_policy import ImageConfig
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import read_table, write_table

FACTS_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("digest", pa.binary(16)),
        pa.field("look", pa.uint64()),
        pa.field("stored_bytes", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
"""What an image's file says: of one that can be used `digest` (`fetch.file_digest`), `look` (the
perceptual hash, big endian) and `stored_bytes`, and in `detail` what the decoder remarked; of
another `reason` and `detail`."""

CHECKED_DIRECTORY = "plan/checked"
PART_IMAGES = 8192
"""Half a minute of one core, at 3 ms an image: what an interrupted job does again at most."""

BATCH_IMAGES = 32
"""A tenth of a second: the way to a worker and back costs less than a hundredth of it."""

BATCH_URLS = 512
"""Some seconds of one core: what its process waits for is the slowest picture of a batch."""

_BATCHES = 64
"""Of URLs, where there are few: else a process that ends late would have many."""

Pictures = UPath | HttpSource
"""Where the pictures of a catalog are."""

_IMAGE_ROOT = b"image_root"
_RETRYABLE = pa.array(map(str, RETRYABLE), pa.string())


class Facts(NamedTuple):
    """A row of FACTS_SCHEMA without its image."""

    digest: bytes | None
    look: int | None
    stored_bytes: int | None
    reason: str | None
    detail: str | None


@dataclass(frozen=True)
class CheckJob:
    """What a step needs to check images.

    Attributes:
        image_roots: Where its pictures are, of each catalog by the side that it lists.
        root: Of the dataset.
        retry: Images that were missing or broken are looked at again.
    """

    image_roots: Mapping[SplitName, Pictures]
    policy: ImageConfig
    root: UPath
    retry: bool = False


@dataclass(frozen=True)
class CheckImage:
    """What an executor does with each image of a catalog."""

    image_root: Pictures
    policy: ImageConfig

    def __call__(self, image_id: str) -> Facts:
        return check_image(image_id, image_root=self.image_root, policy=self.policy)

    def expect(self, image_ids: Sequence[str]) -> None:
        """Images that come next; those that are far away are fetched meanwhile."""
        if isinstance(self.image_root, HttpSource):
            self.image_root.expect(image_ids, self.policy.max_bytes, with_look=True)


def check_image(image_id: str, image_root: Pictures, policy: ImageConfig) -> Facts:
    """Fetches and decodes one image.

    Raises:
        OSError: the storage failed, see `fetch`.
        PreprocessingError: there is too little memory for it.
    """
    try:
        with memory_for(image_id):
            if isinstance(image_root, HttpSource):
                image = image_root.check(image_id, policy)
                remarks = image.remarks or None
                return Facts(image.digest, image.look, image.stored_bytes, None, remarks)
            data = fetch(image_root, image_id, policy.max_bytes)
            examined = examine(data, policy)
    except ImageRejectedError as rejected:
        return _rejected(rejected.reason, rejected.detail)
    look = int.from_bytes(examined.perceptual_hash, "big")
    remarks = "; ".join(examined.remarks) or None
    return Facts(bytes.fromhex(file_digest(data)), look, examined.stored_bytes, None, remarks)


def _rejected(reason: RejectReason, detail: str) -> Facts:
    # A name that is not UTF-8 may stand in it.
    text = detail.encode("utf-8", "backslashreplace").decode()
    return Facts(None, None, None, str(reason), text)


def check_bucket(
    bucket: int, image_ids: pa.Array, job: CheckJob, side: SplitName = SplitName.TRAIN
) -> pa.Table:
    """The facts of the images of a bucket (FACTS_SCHEMA), from its parts or else from its files.

    Args:
        image_ids: In the same order each time.
        side: Of the catalog that lists them.
    """
    name = f"{bucket:05d}" if side is SplitName.TRAIN else f"{side}-{bucket:05d}"
    image_root = job.image_roots[side]
    parts = [
        _Part.find(f"{name}-{start:09d}", image_ids.slice(start, PART_IMAGES), image_root, job)
        for start in range(0, len(image_ids), PART_IMAGES)
    ]
    wanted = (image_id for part in parts for image_id in part.wanted.to_pylist())
    batch = BATCH_IMAGES
    if isinstance(image_root, HttpSource):
        batch = max(batch, min(BATCH_URLS, sum(len(part.wanted) for part in parts) // _BATCHES))
    found = _check(wanted, image_root, job.policy, batch)
    with closing(found):
        completed = [part.complete(found) for part in parts]
    return pa.concat_tables([FACTS_SCHEMA.empty_table(), *completed])


def _check(
    image_ids: Iterator[str], image_root: Pictures, policy: ImageConfig, batch: int
) -> Generator[Facts, None, None]:
    running = here()
    check = CheckImage(image_root, policy)
    with closing(running.executor.map(check, image_ids, batch, Task.CHECK_PICTURES)) as found:
        for facts in found:
            if isinstance(facts, Lost):
                running.meter.advance(Stage.CHECK_IMAGES, 1)
                yield _rejected(RejectReason.ENDED_PROCESS, facts.reason)
            else:
                running.settle(Stage.CHECK_IMAGES, Task.CHECK_PICTURES, images=1)
                yield facts


@dataclass(frozen=True)
class _Part:
    """Some images of a bucket.

    Attributes:
        known: What is kept of them; None for nothing.
        asked: Which of them are to be looked at now.
    """

    path: UPath
    image_ids: pa.Array
    image_root: str
    known: pa.Table | None
    asked: pa.Array

    @classmethod
    def find(cls, name: str, image_ids: pa.Array, image_root: Pictures, job: CheckJob) -> "_Part":
        path = job.root / CHECKED_DIRECTORY / f"{name}.parquet"
        known = _read(path, image_ids, str(image_root))
        if known is None:
            asked = pa.repeat(True, len(image_ids))
        elif job.retry:
            asked = pc.is_in(known.column("reason").combine_chunks(), _RETRYABLE)
        else:
            asked = pa.repeat(False, len(image_ids))
        done = len(asked) - (pc.sum(asked).as_py() or 0)
        here().meter.keep(Stage.CHECK_IMAGES, done)
        return cls(path, image_ids, str(image_root), known, asked)

    @property
    def wanted(self) -> pa.Array:
        return self.image_ids.filter(self.asked)

    def complete(self, found: Iterator[Facts]) -> pa.Table:
        """All facts of this part, which are kept from now on."""
        new = list(islice(found, len(self.wanted)))
        for image_id, facts in zip(self.wanted.to_pylist(), new, strict=True):
            if facts.reason is None and facts.detail is not None:
                here().meter.remark(f"{image_id}: {facts.detail}")
        if self.known is not None and not new:
            return self.known
        columns = [self.image_ids, *_columns(new)]
        if self.known is not None:
            kept = (column.combine_chunks() for column in self.known.columns[1:])
            columns[1:] = [
                pc.replace_with_mask(old, self.asked, column)
                for old, column in zip(kept, columns[1:], strict=True)
            ]
        table = pa.table(columns, schema=FACTS_SCHEMA)
        write_table(self.path, table.replace_schema_metadata({_IMAGE_ROOT: self.image_root}))
        return table


def _columns(facts: Sequence[Facts]) -> list[pa.Array]:
    cells: Sequence[Sequence[Any]] = list(zip(*facts, strict=True)) or [()] * len(Facts._fields)
    types = FACTS_SCHEMA.types[1:]
    return [pa.array(values, type_) for values, type_ in zip(cells, types, strict=True)]


def _read(path: UPath, image_ids: pa.Array, image_root: str) -> pa.Table | None:
    """A part that is whole and of these images in this place; None else."""
    try:
        table = read_table(path)
    except UnreachableTableError:
        raise
    except TableError:
        return None
    metadata = table.schema.metadata or {}
    table = table.replace_schema_metadata(None)
    if metadata.get(_IMAGE_ROOT) != image_root.encode() or table.schema != FACTS_SCHEMA:
        return None
    return table if table.column("image_id").combine_chunks().equals(image_ids) else None
