"""Builds what `store.history` keeps: a run's evaluations side by side."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from manylabel.eval.config import MetricForm
from manylabel.eval.errors import EvaluationError
from manylabel.eval.statistics.bands import BANDS, band_of
from manylabel.eval.statistics.differences import part_difference
from manylabel.eval.statistics.estimates import image_estimate
from manylabel.eval.statistics.plateau import undistinguished_images, undistinguished_parts
from manylabel.eval.store.evaluations import (
    evaluated_steps,
    read_classes,
    read_images,
    read_parts,
    read_summary,
)
from manylabel.eval.store.history import (
    CLASS_HISTORY_SCHEMA,
    EVALUATIONS_SCHEMA,
    history_directory,
    write_history,
)
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.storage.errors import StorageError
from manylabel.storage.locks import sole_holder

OnUnreadable = Callable[[StorageError | EvaluationError], None]


def build_history(
    root: Path,
    run: str,
    settings: str,
    champion: EvaluationName | None,
    on_unreadable: OnUnreadable,
) -> None:
    """Writes the history of a run's evaluations with the settings of a name, if it has any.

    Args:
        root: Folder of runs.
        run: Name of the run's directory.
        champion: What to take the differences from.
        on_unreadable: told of each file that is damaged; its evaluation is left out.
    """
    directory = history_directory(root / run, settings)
    if not evaluated_steps(root / run, settings) and not directory.is_dir():
        return
    with sole_holder(directory / ".lock", wait=True):  # Or the slower of two would undo the other.
        results = _of_one_dataset(_read_results(root / run, settings, on_unreadable), on_unreadable)
        reference = None
        if champion is not None:
            found = _read_results(root / champion.run, settings, on_unreadable, champion.step)
            reference = next(found, None)
        evaluations = _evaluations_table(results, reference)
        write_history(root / run, settings, evaluations, _class_history(results), champion)


def _of_one_dataset(found: Iterable["_Results"], on_unreadable: OnUnreadable) -> list["_Results"]:
    """Those on the dataset of the newest: a folder of scored predictions may hold others."""
    results = list(found)
    if not results:
        return []
    newest = max(results, key=lambda each: each.summary.provenance.evaluated_at)
    for each in results:
        if _dataset(each) != _dataset(newest):
            at = each.summary.provenance
            on_unreadable(
                StorageError(
                    f"{at.run} step {at.step}: left out of the history, since it is of another "
                    "dataset than the newest evaluation; score it into another folder"
                )
            )
    return [each for each in results if _dataset(each) == _dataset(newest)]


class _Results(NamedTuple):
    """What an evaluation's files say, float64."""

    summary: EvaluationSummary
    groups: NDArray[np.int64]
    images: NDArray[np.float64]
    parts: NDArray[np.float64]
    classes: pa.Table


def _read_results(
    run_dir: Path,
    settings: str,
    on_unreadable: OnUnreadable,
    step: int | None = None,
) -> Iterator[_Results]:
    for each in evaluated_steps(run_dir, settings):
        if step is not None and each != step:
            continue
        try:
            images = read_images(run_dir, each, settings)
            yield _Results(
                read_summary(run_dir, each, settings),
                images.column("near_duplicate_group").to_numpy(),
                images.column("weighted_average_precision").to_numpy(),
                read_parts(run_dir, each, settings).column("weighted_map_class").to_numpy(),
                read_classes(run_dir, each, settings).select(_CLASS_COLUMNS),
            )
        except (StorageError, EvaluationError) as error:  # The second: it vanished meanwhile.
            on_unreadable(error)


_CLASS_COLUMNS = [
    "class_id",
    "weight",
    "train_count",
    "heldout_count",
    "hits",
    "average_precision",
    "baseline_average_precision",
]


def _evaluations_table(results: list[_Results], champion: _Results | None) -> pa.Table:
    candidates = {
        MetricForm.IMAGE: _undistinguished_by_images(results),
        MetricForm.CLASS: _undistinguished_by_parts(results),
    }
    rows = []
    for place, result in enumerate(results):
        summary = result.summary
        row = {
            "step": summary.provenance.step,
            "samples": summary.provenance.samples,
            "evaluated_at": summary.provenance.evaluated_at,
            "checkpoint_digest": summary.provenance.checkpoint_digest,
            "dataset_digest": summary.dataset.content_digest,
            "k": summary.config.k,
            "heldout_images": summary.counts.images,
            "recall": summary.scores.recall,
            "bands": _bands(result.classes, "average_precision"),
            "baseline_bands": _bands(result.classes, "baseline_average_precision"),
        }
        for form in MetricForm:
            headline = summary.headline_of(form)
            row |= {f"{form}_{name}": value for name, value in headline.interval}
            row[f"{form}_value"], row[f"{form}_baseline"] = headline.value, headline.baseline
            row[f"{form}_undistinguished"] = bool(candidates[form][place])
            row |= _from_champion(form, result, champion)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=EVALUATIONS_SCHEMA)


def _undistinguished_by_images(results: list[_Results]) -> NDArray[np.bool_]:
    if not results:
        return np.zeros(0, dtype=bool)
    return undistinguished_images(np.stack([each.images for each in results]), results[0].groups)


def _undistinguished_by_parts(results: list[_Results]) -> NDArray[np.bool_]:
    if not results:
        return np.zeros(0, dtype=bool)
    values = np.array([each.summary.scores.weighted_map_class for each in results])
    return undistinguished_parts(values, np.stack([each.parts for each in results]))


def _from_champion(
    form: MetricForm, result: _Results, champion: _Results | None
) -> dict[str, float | None]:
    names = [f"{form}_champion_{name}" for name in ("difference", "low", "high")]
    if champion is None or _dataset(champion) != _dataset(result):
        return dict.fromkeys(names)
    if form is MetricForm.IMAGE:
        by_image = image_estimate(result.images - champion.images, result.groups)
        return dict(zip(names, (by_image.value, by_image.low, by_image.high), strict=True))
    values = [each.summary.scores.weighted_map_class for each in (result, champion)]
    by_part = part_difference(values[0], values[1], result.parts, champion.parts)
    return dict(zip(names, (by_part.value, by_part.low, by_part.high), strict=True))


def _dataset(result: _Results) -> str:
    return result.summary.dataset.content_digest


def _bands(classes: pa.Table, column: str) -> list[float | None]:
    """The weighted mean over the classes of each band that held-out images have."""
    weights = classes.column("weight").to_numpy()
    values = classes.column(column).to_numpy()
    bands = band_of(classes.column("train_count").to_numpy())
    present = classes.column("heldout_count").to_numpy() > 0
    means: list[float | None] = []
    for band in range(len(BANDS)):
        chosen = present & (bands == band)
        total = weights[chosen].sum()
        means.append(float(weights[chosen] @ values[chosen] / total) if total else None)
    return means


def _class_history(results: list[_Results]) -> pa.Table:
    tables = []
    for result in results:
        present = result.classes.filter(result.classes.column("average_precision").is_valid())
        steps = pa.array(np.full(present.num_rows, result.summary.provenance.step))
        table = present.append_column("step", steps)
        tables.append(table.select(CLASS_HISTORY_SCHEMA.names).cast(CLASS_HISTORY_SCHEMA))
    whole = pa.concat_tables([CLASS_HISTORY_SCHEMA.empty_table(), *tables])
    return whole.sort_by([("class_id", "ascending"), ("step", "ascending")])
