"""Pictures that were fetched and are in shards: brought back before shards are written anew, and
dropped where they are kept twice."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from upath import UPath

from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors import Lost, Task
from manylabel.preprocessing.pictures.checking import CheckJob
from manylabel.preprocessing.pictures.fetch import root_of
from manylabel.preprocessing.pictures.fetched import FETCHED_DIRECTORY, Fetched, FetchedImage
from manylabel.preprocessing.pictures.http_source import HttpSource
from manylabel.preprocessing.pictures.images import StoredImage
from manylabel.preprocessing.planning.dataset_plan import DatasetPlan, read_planned
from manylabel.preprocessing.progress import Stage
from manylabel.preprocessing.running import here
from manylabel.preprocessing.writing.shards import find_shard, split_of, tfrecord_path
from manylabel.storage.schema import decode_example
from manylabel.storage.tfrecord import iterate_records


def keep_again(plan: DatasetPlan, job: CheckJob) -> None:
    """Keeps what is in the shards of a plan, for another plan that is made: no server is asked
    twice, and the pictures are those that were checked.

    Raises:
        PreprocessingError: a shard cannot be looked at.
        OSError: the storage failed.
    """
    shards = _fetched_shards(plan, job)
    if shards:
        here().meter.begin(Stage.FIND_SHARDS, len(shards))
    for _ in _each(shards, partial(_keep_shard, root=job.root)):
        here().meter.advance(Stage.FIND_SHARDS, 1)


def drop_written(plan: DatasetPlan, job: CheckJob) -> None:
    """Deletes what is kept of pictures that are in shards; the others may be wanted some day.

    Raises:
        PreprocessingError, OSError: likewise.
    """
    for _ in _each(_fetched_shards(plan, job), partial(_drop_shard, root=job.root)):
        pass


def _fetched_shards(plan: DatasetPlan, job: CheckJob) -> list[str]:
    return [
        name
        for name in plan.names
        if isinstance(root_of(split_of(name), job.image_roots), HttpSource)
    ]


def _each(shards: Sequence[str], function: Callable[[str], Any]) -> Iterator[None]:
    with closing(here().executor.map(function, shards, 1, Task.FIND_SHARDS)) as outcomes:
        for shard, outcome in zip(shards, outcomes, strict=True):
            if isinstance(outcome, Lost):
                raise PreprocessingError(
                    f"{shard}: cannot be looked at: {outcome.reason}; run again, with fewer "
                    "processes if memory is short"
                )
            yield


def _keep_shard(shard: str, root: UPath) -> None:
    if find_shard(shard, root, verify=True) is None:
        return
    kept = Fetched(root / FETCHED_DIRECTORY)
    records = iterate_records(root / tfrecord_path(shard))
    for planned, payload in zip(read_planned(root, shard), records, strict=True):
        image = decode_example(payload)
        stored = StoredImage(image.encoded, image.height, image.width)
        digest = bytes.fromhex(planned.digest)
        kept.keep(planned.image_id, FetchedImage(digest, None, len(image.encoded), stored))


def _drop_shard(shard: str, root: UPath) -> None:
    kept = Fetched(root / FETCHED_DIRECTORY)
    for planned in read_planned(root, shard):
        kept.drop(planned.image_id)
