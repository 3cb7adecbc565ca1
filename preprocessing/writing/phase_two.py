"""Phase two: finds which shards are there, and writes the others."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import ClassVar, Literal

from upath import UPath

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors import Lost, Task
from manylabel.preprocessing.pictures.checking import Pictures
from manylabel.preprocessing.planning.dataset_plan import (
    OUTCOMES_NAME,
    PLAN_DIRECTORY,
    DatasetPlan,
    planned_images,
)
from manylabel.preprocessing.progress import Stage
from manylabel.preprocessing.running import here
from manylabel.preprocessing.transport.beam import beam
from manylabel.preprocessing.transport.runner import run_pipeline
from manylabel.preprocessing.transport.shuffle import Collect
from manylabel.preprocessing.writing.shards import (
    find_shard,
    index_path,
    tfrecord_path,
    write_from,
)
from manylabel.storage.atomic import TEMPORARY_PATTERN
from manylabel.storage.documents import Document
from manylabel.storage.locations import is_local
from manylabel.storage.manifest import MANIFEST_NAME, RecordShard
from manylabel.storage.schema import SplitName

_BATCH_SHARDS = 16
"""Whose sizes a process compares at once; it takes some milliseconds a shard."""


class _Outcomes(Document):
    """What became of the shards.

    Attributes:
        written: What `write_from` wrote.
        changed: Pictures that are not those that were checked.
        given_up: Shards whose process ended again and again.
    """

    NOUN: ClassVar[str] = "an account of written shards"
    REMEDY: ClassVar[str] = "run preprocessing again"

    format_version: Literal[2] = 2
    written: tuple[RecordShard, ...]
    changed: tuple[str, ...]
    given_up: tuple[str, ...]


def find_shards(plan: DatasetPlan, root: UPath, *, verify: bool) -> dict[str, RecordShard]:
    """The shards of a plan that are complete, by name.

    Args:
        verify: Every byte of them is read.

    Raises:
        PreprocessingError: a shard cannot be looked at; that says nothing about it.
        OSError, UnreachableTableError: likewise, because the storage failed.
    """
    running = here()
    stage = Stage.VERIFY_SHARDS if verify else Stage.FIND_SHARDS
    running.meter.begin(stage, len(plan.names))
    found = running.executor.map(
        partial(find_shard, root=root, verify=verify),
        plan.names,
        1 if verify else _BATCH_SHARDS,
        Task.FIND_SHARDS,
    )
    kept = {}
    for name, shard in zip(plan.names, found, strict=True):
        running.meter.advance(stage, 1)
        if isinstance(shard, Lost):
            raise PreprocessingError(
                f"{root / tfrecord_path(name)}: cannot be looked at: {shard.reason}; run again, "
                "with fewer processes if memory is short"
            )
        if shard is not None:
            kept[name] = shard
    return kept


def write_shards(
    names: Sequence[str],
    config: PreprocessingConfig,
    image_roots: Mapping[SplitName, Pictures],
    root: UPath,
) -> dict[str, RecordShard]:
    """Writes the shards of these names.

    Args:
        image_roots: Of each catalog, by the side that it lists.

    Raises:
        PreprocessingError: a picture is no longer the one that was checked, or a shard's process
            ended again and again; other shards are written all the same.
        OSError: the storage failed.
    """
    (root / MANIFEST_NAME).unlink(missing_ok=True)  # First: an interrupted repair must not open.
    for name in names:
        (root / index_path(name)).unlink(missing_ok=True)
    folders = {(root / tfrecord_path(name)).parent for name in names}
    look = partial(_bytes_under_way, folders) if is_local(root) else None
    here().meter.begin(Stage.WRITE_SHARDS, planned_images(root, names), look)
    write = partial(write_from, root=root, image_roots=image_roots, policy=config.images)
    # In this process one step hands out all shards; elsewhere Beam does, one to a step.
    handed = [[name] for name in names] if config.runner.options else [list(names)]

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | beam.Create(handed)
            | beam.Reshuffle()
            | "Write" >> beam.FlatMap(write_each, write)
            | Collect(list)
            | "Note" >> beam.Map(_write_outcomes, root)
        )

    run_pipeline(build, config.runner, root / PLAN_DIRECTORY)
    outcomes = _Outcomes.read(root / OUTCOMES_NAME)
    (root / OUTCOMES_NAME).unlink()
    problems = outcomes.changed or outcomes.given_up
    if problems:
        advice = (
            "leave the images alone and run again with --overwrite"
            if outcomes.changed
            else "run again, with fewer processes if memory is short; finished work is kept"
        )
        raise PreprocessingError(
            f"{problems[0]} ({len(problems)} of {len(names)} shards were not written); {advice}"
        )
    by_path = {shard.path: shard for shard in outcomes.written}
    return {name: by_path[tfrecord_path(name)] for name in names}


def write_each(
    names: Sequence[str], write: Callable[[str], RecordShard | str]
) -> Iterator[RecordShard | str | Lost]:
    """A step of the graph: what became of each shard."""
    running = here()
    with closing(running.executor.map(write, names, 1, Task.WRITE_SHARDS)) as outcomes:
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, Lost):
                yield Lost(f"{name}: {outcome.reason}")
                continue
            if isinstance(outcome, RecordShard):
                running.settle(Stage.WRITE_SHARDS, Task.WRITE_SHARDS, outcome.records, shards=1)
            yield outcome


def _bytes_under_way(folders: Collection[UPath]) -> int:
    """Of shards that are begun; they count when they are done, after a minute or more."""
    size = 0
    for folder in folders:
        for path in folder.glob(TEMPORARY_PATTERN):
            with suppress(OSError):  # It is done by now.
                size += path.stat().st_size
    return size


def _write_outcomes(outcomes: Sequence[RecordShard | str | Lost], root: UPath) -> None:
    """In an order that does not depend on which process was first."""
    written = [outcome for outcome in outcomes if isinstance(outcome, RecordShard)]
    changed = [outcome for outcome in outcomes if isinstance(outcome, str)]
    given_up = [outcome.reason for outcome in outcomes if isinstance(outcome, Lost)]
    _Outcomes(
        written=tuple(sorted(written, key=lambda shard: shard.path)),
        changed=tuple(sorted(changed)),
        given_up=tuple(sorted(given_up)),
    ).write(root / OUTCOMES_NAME)
