"""The evaluation of one set of predictions against the held-out labels of a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from upath import UPath

from manylabel.eval.config import EvalConfig
from manylabel.eval.errors import EvaluationError
from manylabel.eval.heldout import HeldoutLabels, read_heldout_labels
from manylabel.eval.ranking.baseline import frequency_predictions
from manylabel.eval.ranking.metrics import (
    ClassMetrics,
    ClassScores,
    ImageMetrics,
    ImageScores,
    find_hits,
)
from manylabel.eval.ranking.weights import normalised, raw_weights
from manylabel.eval.settings import settings_key
from manylabel.eval.store.evaluations import CLASSES_SCHEMA, predictions_path, write_evaluation
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
    Provenance,
    ScoredCounts,
    Scores,
)
from manylabel.storage.dataset import Dataset
from manylabel.storage.locations import Location


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything computed: the summary, and one row per class (CLASSES_SCHEMA)."""

    summary: EvaluationSummary
    classes: pa.Table


class Evaluator:
    """Scores predictions for the held-out images of a dataset, one set after the other.

    Labels are read, and the frequency baseline is scored, once for all of them.

    Args:
        dataset: Gives held-out labels, label names and training counts.
        config: k, weights and ranks.
        weights: `raw_weights` of both, where they have been read.

    Raises:
        EvaluationError: the held-out split cannot be scored; no label has a positive weight.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: EvalConfig,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self._dataset = dataset
        self._config = config
        self._heldout = heldout = read_heldout_labels(dataset)
        self._labels = labels = dataset.labels()
        if weights is None:
            weights = raw_weights(config.weights, labels)
        self._settings = settings_key(config, weights)
        self._weights = normalised(weights)
        constant = frequency_predictions(
            list(heldout.rows),
            labels.column("train_count").to_numpy(),
            config.k,
            config.batch_size,
        )
        self._baseline = images, _ = _measure(constant, heldout, self._weights, config)
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
        write_evaluation(run_dir, evaluation.summary, evaluation.classes)
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
        dataset = self._dataset
        images, classes = _measure(predictions, self._heldout, self._weights, self._config)
        scores, baseline = _scores(images, classes), _scores(*self._baseline)
        summary = EvaluationSummary(
            headline=Headline.of(self._config, scores, baseline),
            settings=self._settings,
            provenance=provenance,
            dataset=DatasetReference(root=str(dataset.root), content_digest=dataset.content_digest),
            config=self._config,
            counts=ScoredCounts(
                images=images.images,
                images_without_labels=images.images_without_labels,
                images_without_weight=images.images_without_weight,
                labels=int(classes.positives.sum()),
                classes=dataset.num_classes,
                classes_with_images=int(np.count_nonzero(classes.positives)),
            ),
            scores=scores,
            baseline=baseline,
        )
        return Evaluation(summary, self._by_class(classes))

    def _by_class(self, scores: ClassScores) -> pa.Table:
        _, baseline = self._baseline
        columns = {
            "class_id": self._labels.column("class_id"),
            "name": self._labels.column("name"),
            "weight": self._weights,
            "train_count": self._labels.column("train_count"),
            "heldout_count": scores.positives,
            "hits": scores.hits,
            "average_precision": _nullable(scores.average_precision),
            "baseline_average_precision": _nullable(baseline.average_precision),
        }
        return pa.table(columns, schema=CLASSES_SCHEMA)


def _measure(
    predictions: Iterable[PredictionBatch],
    heldout: HeldoutLabels,
    weights: NDArray[np.float64],
    config: EvalConfig,
) -> tuple[ImageScores, ClassScores]:
    """Joins predictions with labels by image id and streams them through the metrics."""
    by_image = ImageMetrics(weights, config.precision_at)
    by_class = ClassMetrics(weights)
    width = min(config.k, len(weights))
    seen = np.zeros(len(heldout.rows), dtype=np.int64)
    for batch in predictions:
        _check_classes(batch, width, len(weights))
        rows = heldout.rows_of(batch.image_ids)
        np.add.at(seen, rows, 1)
        positives = heldout.positives.select(rows)
        class_ids, scores = batch.class_ids[:, :width], batch.scores[:, :width]
        hits = find_hits(class_ids, positives, len(weights))
        by_image.update(class_ids, hits, positives)
        by_class.update(class_ids, scores, hits, positives, rows)
    _check_each_once(seen, heldout)
    return by_image.result(), by_class.result()


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


def _check_each_once(seen: NDArray[np.int64], heldout: HeldoutLabels) -> None:
    wrong = np.flatnonzero(seen != 1)
    if wrong.size:
        image_ids = list(heldout.rows)
        example = wrong[0]
        raise EvaluationError(
            f"expected predictions for each of {len(image_ids)} held-out images once, received "
            f"none for {np.count_nonzero(seen == 0)} and several for "
            f"{np.count_nonzero(seen > 1)}, e.g. {seen[example]} for {image_ids[example]!r}; "
            "predict again"
        )


def _scores(image: ImageScores, by_class: ClassScores) -> Scores:
    return Scores(
        weighted_map_image=image.weighted_map,
        weighted_map_class=by_class.weighted_map,
        map_image=image.map,
        map_class=by_class.map,
        recall=image.recall,
        precision=image.precision,
    )


def _nullable(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values, from_pandas=True)  # NaN becomes null
