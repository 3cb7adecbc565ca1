"""What a run is doing, as its files tell: trains, has finished, or has stopped before."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from upath import UPath

from manylabel.deploy.dashboard.errors import UNREADABLE, Problems, one_line
from manylabel.deploy.dashboard.reading import Store
from manylabel.eval.store.evaluations import evaluated_steps, read_summaries
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import DatasetError
from manylabel.storage.manifest import MANIFEST_NAME, Manifest
from manylabel.storage.schema import SplitName
from manylabel.trainer.plane.metrics import MetricsRow
from manylabel.trainer.runs.directory import DESCRIPTION, RunDescription, open_run
from manylabel.trainer.runs.metrics_log import JSON_LINES, sample_metrics

_QUIET = timedelta(minutes=5)
"""Without a row of metrics for so long, and for three times what a row usually takes, a run has
stopped. Locks would tell more, but not across machines."""
_ROWS_LATE = 3


class Doing(StrEnum):
    """The state of a run; SCORED: it holds evaluations of another tool's predictions."""

    LIVE = "training"
    DONE = "finished"
    SCORED = "scored"
    STOPPED = "stopped"
    UNSTARTED = "not started"
    BROKEN = "unreadable"

    @property
    def css(self) -> str:
        """Class of the mark beside the word."""
        return {Doing.LIVE: "live", Doing.DONE: "done", Doing.BROKEN: "broken"}.get(self, "")


@dataclass(frozen=True)
class RunState:
    """A run's state.

    Attributes:
        newest: Its last row of metrics; None before the first.
        changed: When that was written.
        share: Of the settings' epochs that are done; None where the dataset is not there.
    """

    doing: Doing
    newest: MetricsRow | None
    changed: datetime | None
    share: float | None


def run_state(store: Store, run: str, problems: Problems) -> RunState:
    """What a run does; what cannot be read is counted."""
    if store.is_scored(run):
        return RunState(Doing.SCORED, None, None, None)
    description = problems.attempt(lambda: description_of(store, run))
    rows = problems.attempt(lambda: metrics_of(store, run, 2)) or ()
    newest = rows[-1] if rows else None
    if description is None:
        return RunState(Doing.BROKEN, newest, None, None)
    if newest is None:
        return RunState(Doing.UNSTARTED, None, None, None)
    written = problems.attempt(lambda: (store.root / run / JSON_LINES).stat().st_mtime)
    changed = store.now() if written is None else datetime.fromtimestamp(written, UTC)
    share = _share_done(store, description, newest)
    if share is not None and share >= 1:
        doing = Doing.DONE
    else:
        late = _is_late(store.now() - changed, newest, description.trainer.updates_per_metrics_row)
        doing = Doing.STOPPED if late else Doing.LIVE
    return RunState(doing, newest, changed, share)


def description_of(store: Store, run: str) -> RunDescription:
    """A run's description; raises as `open_run`."""
    return store.cached(store.root / run / DESCRIPTION, _open_run_at)


def metrics_of(store: Store, run: str, most: int) -> tuple[MetricsRow, ...]:
    """At most `most` rows of a run's metrics; raises as `sample_metrics`."""
    path = store.root / run / JSON_LINES
    if not path.is_file():
        return ()
    return store.cached(path, lambda path: tuple(sample_metrics(path.parent, most)), most)


def manifest_of(store: Store, root: str) -> Manifest:
    """The manifest of a dataset, which lies anywhere.

    Raises:
        DatasetError, DocumentError: there is no complete dataset, or its manifest is damaged.
    """
    if "://" not in root:
        path = Path(root) / MANIFEST_NAME
        if path.is_file():
            return store.cached(path, _manifest_at)
    return open_dataset(root).manifest


def open_dataset(root: str) -> Dataset:
    """A dataset, which lies anywhere.

    Raises:
        DatasetError: there is none, or what its kind of location needs is not installed.
        StorageError: its manifest is damaged.
    """
    try:
        return Dataset.open(root)
    except (ImportError, ValueError) as error:  # fsspec: no such plugin, no such protocol.
        raise DatasetError(f"{root}: cannot be opened from here: {one_line(error)}") from error


def dataset_of(store: Store, run: str) -> Dataset:
    """The dataset that a run learnt from, or was scored on, if it is still what it was.

    Where it was moved, the newest evaluation may know its new place.

    Raises:
        DatasetError: it is not there, unfinished, or of other content.
        StorageError, TrainingError, EvaluationError: it, or what names it, cannot be read.
    """
    if store.is_scored(run):
        summary = newest_summary(store, run)
        if summary is None:
            raise DatasetError(f"{store.root / run}: no evaluation tells of a dataset")
        return _dataset(store, run, summary.dataset.root, summary.dataset.content_digest)
    description = description_of(store, run)
    try:
        return _dataset(store, run, description.dataset, description.dataset_digest)
    except UNREADABLE:
        summary = newest_summary(store, run)
        if summary is None or summary.dataset.root == description.dataset:
            raise
        return _dataset(store, run, summary.dataset.root, description.dataset_digest)


def newest_summary(store: Store, run: str, step: int | None = None) -> EvaluationSummary | None:
    """Of the newest evaluation of a checkpoint, by default the last one that has any."""
    directory = store.root / run
    if step is None:
        step = max(evaluated_steps(directory), default=None)
    if step is None:
        return None
    found = read_summaries(directory, lambda _: None, step)
    return max(found, key=lambda each: each.provenance.evaluated_at, default=None)


def _dataset(store: Store, run: str, root: str, digest: str) -> Dataset:
    manifest = manifest_of(store, root)
    if manifest.content_digest != digest:
        raise DatasetError(
            f"{root}: expected the dataset of {run} (content {digest[:12]}), received one of "
            f"content {manifest.content_digest[:12]}; put that dataset back"
        )
    return Dataset(UPath(root), manifest)


def _share_done(store: Store, description: RunDescription, newest: MetricsRow) -> float | None:
    try:
        manifest = manifest_of(store, description.dataset)
    except UNREADABLE:  # The run's page tells of it; a state is known without.
        return None
    split = manifest.splits.get(SplitName.TRAIN)
    if split is None or not split.records:
        return None
    return newest.samples / (split.records * description.trainer.epochs)


def _is_late(quiet: timedelta, newest: MetricsRow, updates: int) -> bool:
    """Whether a run whose rows sum up so many updates should have written another by now."""
    images = updates * newest.samples / max(newest.step, 1)
    row = timedelta(seconds=images / newest.images_per_second if newest.images_per_second else 0)
    return quiet > max(_QUIET, _ROWS_LATE * row)


def _open_run_at(path: Path) -> RunDescription:
    return open_run(path.parent)


def _manifest_at(path: Path) -> Manifest:
    return Manifest.read(path)
