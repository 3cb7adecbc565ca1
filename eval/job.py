"""The evaluation of one set of predictions against the held-out labels of a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from upath import UPath

from manylabel.eval.config import EvalConfig, MetricForm
from manylabel.eval.errors import EvaluationError
from manylabel.eval.heldout import Heldout, read_heldout
from manylabel.eval.ranking.baseline import frequency_baseline
from manylabel.eval.ranking.measure import Measurement, Rankings, measure
from manylabel.eval.ranking.parts import Parts, leave_one_part_out, part_of
from manylabel.eval.ranking.weights import normalised, raw_weights
from manylabel.eval.settings import settings_key
from manylabel.eval.statistics.bands import BANDS, band_of
from manylabel.eval.statistics.estimates import Estimate, image_estimate, jackknife_estimate
from manylabel.eval.store.evaluations import (
    CLASSES_SCHEMA,
    IMAGES_SCHEMA,
    PARTS_SCHEMA,
    POSITIVES_SCHEMA,
    EvaluationTables,
    predictions_path,
    write_evaluation,
)
from manylabel.eval.store.predictions import (
    PredictionBatch,
    PredictionOrigin,
    read_origin,
    read_predictions,
)
from manylabel.eval.store.summary import (
    DatasetReference,
    EvaluationSummary,
    Headline,
    Interval,
    Provenance,
    ScoredCounts,
    Scores,
)
from manylabel.storage.dataset import Dataset
from manylabel.storage.locations import Location


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything computed."""

    summary: EvaluationSummary
    tables: EvaluationTables


class Evaluator:
    """Scores predictions for the held-out images of a dataset, one set after the other.

    Labels are read, and the frequency baseline is scored, once for all of them.

    Args:
        dataset: Gives held-out labels, label names and training counts.
        config: k, weights and ranks.
        weights: `raw_weights` of both, where they have been read.

    Raises:
        EvaluationError: the held-out split cannot be scored; no label has a positive weight.
        StorageError: a file of the dataset is missing or damaged.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: EvalConfig,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self._dataset = dataset
        self._config = config
        self._heldout = heldout = read_heldout(dataset, config.unknown)
        self._labels = labels = dataset.labels()
        if weights is None:
            weights = raw_weights(config.weights, labels)
        self._settings = settings_key(config, weights)
        self._weights = normalised(weights)
        self._baseline = frequency_baseline(
            self._train_counts, config.k, heldout.judgements, self._weights, config.precision_at
        )
        images = self._baseline.counts
        if images.images == images.images_without_weight:
            raise EvaluationError(
                f"{dataset.root}: expected a held-out image with a label of weight above 0, "
                f"received {images.images} images with labels, all of weight 0; change eval.weights"
            )

    def evaluate_files(self, run_dir: Location, provenance: Provenance) -> EvaluationSummary:
        """Scores evals/<provenance.step>/predictions.parquet of a run, writes the result below it.

        Raises:
            EvaluationError: no predictions, predictions of another dataset or checkpoint, or as
                `evaluate`.
            TableError: the predictions are damaged.
            DocumentError: another version of manylabel made them.
        """
        path = predictions_path(run_dir, provenance.step)
        self._check_origin(read_origin(path), path, provenance)
        predictions = read_predictions(path, self._config.batch_size)
        evaluation = self.evaluate(predictions, provenance)
        write_evaluation(run_dir, evaluation.summary, evaluation.tables)
        return evaluation.summary

    def _check_origin(
        self, origin: PredictionOrigin | None, path: UPath, provenance: Provenance
    ) -> None:
        if origin is None:  # Another tool's; that it fits is for its user to know.
            return
        for what, received, expected in (
            ("dataset", origin.dataset_digest, self._dataset.content_digest),
            ("checkpoint", origin.checkpoint_digest, provenance.checkpoint_digest),
        ):
            if received != expected:
                raise EvaluationError(
                    f"{path}: expected predictions for the {what} of content {expected[:12]}, "
                    f"received those for {received[:12]}; predict again"
                )

    def evaluate(
        self, predictions: Iterable[PredictionBatch], provenance: Provenance
    ) -> Evaluation:
        """Scores the best classes of every held-out image, given in any order of images.

        Raises:
            EvaluationError: an image is missing, repeated or not held out; fewer predictions than
                min(k, classes); a class id outside the vocabulary.
        """
        config, heldout = self._config, self._heldout
        rankings = _collect(predictions, heldout, config.k, len(self._weights))
        measured = measure(rankings, heldout.judgements, self._weights, config.precision_at)
        parts = leave_one_part_out(
            rankings,
            heldout.judgements,
            self._weights,
            part_of(heldout.groups),
            band_of(self._train_counts),
            len(BANDS),
        )
        tables = EvaluationTables(
            classes=self._classes_table(measured),
            images=self._images_table(measured),
            positives=_positives_table(measured),
            parts=_parts_table(parts),
        )
        return Evaluation(self._summary(measured, parts, provenance), tables)

    def _summary(
        self, measured: Measurement, parts: Parts, provenance: Provenance
    ) -> EvaluationSummary:
        config, dataset, counts = self._config, self._dataset, measured.counts
        scores, baseline = _scores(measured), _scores(self._baseline)
        of_images = image_estimate(measured.images.weighted_average_precision, self._heldout.groups)
        of_parts = jackknife_estimate(scores.weighted_map_class, parts.weighted_map_class)
        intervals = {MetricForm.IMAGE: _interval(of_images), MetricForm.CLASS: _interval(of_parts)}
        return EvaluationSummary(
            headline=Headline.of(config.form, config.k, scores, baseline, intervals),
            settings=self._settings,
            provenance=provenance,
            dataset=DatasetReference(root=str(dataset.root), content_digest=dataset.content_digest),
            config=config,
            counts=ScoredCounts(
                images=counts.images,
                images_without_labels=counts.images_without_labels,
                images_without_weight=counts.images_without_weight,
                labels=int(measured.classes.positives.sum()),
                classes=dataset.num_classes,
                classes_with_images=int(np.count_nonzero(measured.classes.positives)),
                near_duplicate_groups=len(
                    np.unique(self._heldout.groups[measured.images.labels > 0])
                ),
                parts=len(parts.part),
            ),
            scores=scores,
            baseline=baseline,
            intervals=intervals,
        )

    def _classes_table(self, measured: Measurement) -> pa.Table:
        classes = measured.classes
        columns = {
            "class_id": self._labels.column("class_id"),
            "name": self._labels.column("name"),
            "weight": self._weights,
            "train_count": self._labels.column("train_count"),
            "heldout_count": classes.positives,
            "hits": classes.hits,
            "average_precision": _nullable(classes.average_precision),
            "baseline_average_precision": _nullable(self._baseline.classes.average_precision),
            "contribution": classes.contribution,
            "image_contribution": classes.image_contribution,
        }
        return pa.table(columns, schema=CLASSES_SCHEMA)

    def _images_table(self, measured: Measurement) -> pa.Table:
        images = measured.images
        columns = {
            "image_row": np.arange(len(images.labels)),
            "near_duplicate_group": self._heldout.groups,
            "labels": images.labels,
            "label_weight": images.label_weight,
            "average_precision": _nullable(images.average_precision),
            "weighted_average_precision": _nullable(images.weighted_average_precision),
        }
        return pa.table(columns, schema=IMAGES_SCHEMA)

    @cached_property
    def _train_counts(self) -> NDArray[np.int64]:
        counts: NDArray[np.int64] = self._labels.column("train_count").to_numpy()
        return counts


def _collect(
    predictions: Iterable[PredictionBatch], heldout: Heldout, k: int, num_classes: int
) -> Rankings:
    """Joins predictions with the held-out images by image id; each must be there once."""
    width = min(k, num_classes)
    rankings = Rankings()
    seen = np.zeros(len(heldout.rows), dtype=np.int64)
    for batch in predictions:
        _check_classes(batch, width, num_classes)
        rows = heldout.rows_of(batch.image_ids)
        np.add.at(seen, rows, 1)
        rankings.add(rows, batch.class_ids[:, :width], batch.scores[:, :width])
    _check_each_once(seen, heldout)
    return rankings


def _check_classes(batch: PredictionBatch, width: int, num_classes: int) -> None:
    if batch.class_ids.shape[1] < width:
        raise EvaluationError(
            f"expected at least {width} predictions an image (k, or all {num_classes} classes), "
            f"received {batch.class_ids.shape[1]}; predict again with this k or lower eval.k"
        )
    largest = batch.class_ids.max(initial=0)
    if largest >= num_classes:
        raise EvaluationError(
            f"expected class ids in [0, {num_classes}), received {largest}; the predictions "
            "belong to another label table"
        )


def _check_each_once(seen: NDArray[np.int64], heldout: Heldout) -> None:
    wrong = np.flatnonzero(seen != 1)
    if wrong.size:
        image_ids = list(heldout.rows)
        example = wrong[0]
        raise EvaluationError(
            f"expected predictions for each of {len(image_ids)} held-out images once, received "
            f"none for {np.count_nonzero(seen == 0)} and several for "
            f"{np.count_nonzero(seen > 1)}, e.g. {seen[example]} for {image_ids[example]!r:.200}; "
            "predict again"
        )


def _scores(measured: Measurement) -> Scores:
    scores = measured.scores
    return Scores(
        weighted_map_image=scores.weighted_map_image,
        weighted_map_class=scores.weighted_map_class,
        map_image=scores.map_image,
        map_class=scores.map_class,
        recall=scores.recall,
        precision=scores.precision,
    )


def _interval(estimate: Estimate) -> Interval:
    return Interval(standard_error=estimate.standard_error, low=estimate.low, high=estimate.high)


def _positives_table(measured: Measurement) -> pa.Table:
    positives = measured.positives
    found = positives.rank > 0
    columns = {
        "class_id": positives.class_ids,
        "image_row": positives.image_rows,
        "rank": pa.array(positives.rank, mask=~found),
        "gain": positives.gain,
        "class_gain": positives.class_gain,
        "score": pa.array(positives.score, mask=~found),
    }
    return pa.table(columns, schema=POSITIVES_SCHEMA)


def _parts_table(parts: Parts) -> pa.Table:
    columns = {
        "part": parts.part,
        "weighted_map_class": parts.weighted_map_class,
        "bands": list(parts.bands),
    }
    return pa.table(columns, schema=PARTS_SCHEMA)


def _nullable(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values, from_pandas=True)  # NaN becomes null
