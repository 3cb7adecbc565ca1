"""Evaluations of models that learn in a plausible way, without models.

Made up is how well labels are found: each label of each image has a log rank, lower for common
labels and as a run learns, other for each run and checkpoint. Gains are smooth functions of it, and
all tables and values are the sums of them that an evaluation's are.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks._generated_dataset import Labelling
from manylabel.eval.config import EvalConfig, MetricForm
from manylabel.eval.ranking.parts import part_of
from manylabel.eval.ranking.weights import normalised
from manylabel.eval.settings import settings_key
from manylabel.eval.statistics.bands import BANDS, band_of
from manylabel.eval.statistics.estimates import Estimate, image_estimate, jackknife_estimate
from manylabel.eval.store.evaluations import (
    CLASSES_SCHEMA,
    IMAGES_SCHEMA,
    PARTS_SCHEMA,
    POSITIVES_SCHEMA,
    EvaluationTables,
)
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.predictions import PredictionBatch
from manylabel.eval.store.summary import (
    DatasetReference,
    EvaluationSummary,
    Headline,
    Interval,
    Provenance,
    ScoredCounts,
    Scores,
)
from manylabel.storage.documents import sha256_of

Floats = NDArray[np.float64]

_RANK_OF_COMMONEST, _RANK_OF_RAREST = 6.0, 900.0  # before anything has been learnt
_LEARNT = 1.9  # what the log rank falls by in the end
_TAIL_IS_SLOWER = 2.5  # times, than the most common labels
# Standard deviations of the log rank: of an image, of its label, of a run's taste for a label, and
# of its label in one run and at one checkpoint.
_OF_IMAGE, _OF_PAIR, _OF_TASTE, _OF_RUN, _OF_CHECKPOINT = 0.9, 0.9, 0.25, 0.9, 0.5
_DRAWS = 1 << 20  # noise is drawn once and read from another place each time


@dataclass(frozen=True)
class Model:
    """A checkpoint that never was.

    Attributes:
        run: Its run's name.
        number: Its run's number.
        step: Updates applied.
        samples: Images seen.
        progress: Of its training, in (0, 1].
        gain: How much lower its log ranks are than those of other runs.
    """

    run: str
    number: int
    step: int
    samples: int
    progress: float
    gain: float

    @property
    def digest(self) -> str:
        """Of the checkpoint."""
        return checkpoint_digest(EvaluationName(self.run, self.step))


def checkpoint_digest(name: EvaluationName) -> str:
    """As good as any: there is no checkpoint."""
    return sha256_of(str(name).encode())


@dataclass(frozen=True, eq=False)
class _Gains:
    """How a model does.

    Attributes:
        log_ranks, found, image, label: Of the P labels of images, by label and image; gains in
            either form are 0 where the rank is beyond k.
        of_labels: Average precision of each label; NaN without images.
        of_images, weighted_of_images: Average precision of each image; NaN without labels.
    """

    log_ranks: Floats
    found: NDArray[np.bool_]
    image: Floats
    label: Floats
    of_labels: Floats
    of_images: Floats
    weighted_of_images: Floats


class Evaluations:
    """Evaluates models on one labelling.

    Args:
        dataset: Where it lies and what it is.
    """

    def __init__(self, labelling: Labelling, dataset: DatasetReference) -> None:
        self._labelling = labelling
        self._dataset = dataset
        self._config = EvalConfig()
        counts = labelling.train_counts.astype(np.float64)
        self.settings = settings_key(self._config, counts)
        self._weights = normalised(counts)
        self._bands = band_of(labelling.train_counts)
        self._parts = part_of(labelling.groups)
        self._noise = np.random.default_rng(0).standard_normal(_DRAWS)
        self._own_weights = self._weights[labelling.class_ids]
        self._of_image = np.bincount(labelling.image_rows, minlength=labelling.num_images)
        self._label_weight = self._by_image(self._own_weights)
        # 0 for the most common label, 1 for the rarest.
        self._rarity = 1 - np.log(counts) / np.log(counts.max())
        self._prevalence = labelling.heldout_counts / labelling.num_images
        self._baseline = self._gains(None)
        self._baseline_scores = self._scores(self._baseline)

    def evaluate(
        self, model: Model, evaluated_at: datetime, with_positives: bool
    ) -> tuple[EvaluationSummary, EvaluationTables]:
        """What `eval.job` would return for a model; without positives that table has no rows."""
        gains = self._gains(model)
        classes, images = self._classes(gains), self._images(gains)
        parts = self._leave_parts_out(gains)
        positives = self._positives(gains) if with_positives else POSITIVES_SCHEMA.empty_table()
        tables = EvaluationTables(classes, images, positives, parts)
        scores = self._scores(gains)
        intervals = {
            MetricForm.IMAGE: _interval(
                image_estimate(
                    images.column("weighted_average_precision").to_numpy(), self._labelling.groups
                )
            ),
            MetricForm.CLASS: _interval(
                jackknife_estimate(
                    scores.weighted_map_class, parts.column("weighted_map_class").to_numpy()
                )
            ),
        }
        baseline = self._baseline_scores
        summary = EvaluationSummary(
            headline=Headline.of(self._config.form, self._config.k, scores, baseline, intervals),
            settings=self.settings,
            provenance=Provenance(
                run=model.run,
                checkpoint=f"{model.run}/checkpoints/{model.step:08d}",
                checkpoint_digest=model.digest,
                step=model.step,
                samples=model.samples,
                code_version="0.1.0",
                evaluated_at=evaluated_at,
            ),
            dataset=self._dataset,
            config=self._config,
            counts=self._counts,
            scores=scores,
            baseline=baseline,
            intervals=intervals,
        )
        return summary, tables

    def predictions(self, model: Model, image_ids: list[str]) -> PredictionBatch:
        """The k best of each image: the labels that are found, at their ranks, among others."""
        gains, k = self._gains(model), self._config.k
        random = np.random.default_rng(model.number)
        places = self._ranks(gains)
        found = places > 0
        class_ids = np.full((len(image_ids), k), -1, np.int32)
        rows = self._labelling.image_rows
        class_ids[rows[found], places[found] - 1] = self._labelling.class_ids[found]
        common = np.argsort(self._rarity).astype(np.int32)
        for own in class_ids:
            # More than are wanted: some are drawn twice.
            drawn = common[(len(common) * random.random(3 * k) ** 3).astype(np.int64)]
            others = np.setdiff1d(np.append(drawn, common[: 3 * k]), own)
            free = own < 0
            own[free] = random.permutation(others)[: np.count_nonzero(free)]
        scores = np.tile(_scores(np.log(np.arange(1, k + 1))), (len(image_ids), 1))
        scores[rows[found], places[found] - 1] = _scores(gains.log_ranks[found])
        return PredictionBatch(image_ids, class_ids, scores)

    def _gains(self, model: Model | None) -> _Gains:
        """Without a model those of the frequency baseline."""
        rarity = self._rarity[self._labelling.class_ids]
        commonest = np.log(_RANK_OF_COMMONEST)
        log_ranks = commonest + (np.log(_RANK_OF_RAREST) - commonest) * rarity
        if model is not None:
            slower = 1 + (_TAIL_IS_SLOWER - 1) * rarity
            learnt = _LEARNT * (1 - np.exp(-8 * model.progress / slower)) + model.gain
            log_ranks += (
                _OF_IMAGE * self._noise[self._labelling.image_rows]
                + _OF_PAIR * self._draw(0)
                + _OF_TASTE * self._noise[self._labelling.class_ids + 20_000 * (1 + model.number)]
                + _OF_RUN * self._draw(1 + model.number)
                + _OF_CHECKPOINT * self._draw(100 + 1_000 * model.number + model.step)
                - learnt
            )
        found = log_ranks <= np.log(self._config.k)
        ranks = np.exp(np.minimum(log_ranks, 10))
        by_chance = self._prevalence[self._labelling.class_ids]
        of_label = by_chance
        if model is not None:
            of_label = by_chance + (1 - by_chance) / (1 + np.exp(0.9 * log_ranks + 0.2))
        image = 0.9 * found / (1 + np.maximum(ranks, 1) / 30)
        label = found * of_label
        with np.errstate(invalid="ignore"):
            return _Gains(
                log_ranks,
                found,
                image,
                label,
                self._by_label(label) / self._labelling.heldout_counts,
                self._by_image(image) / self._of_image,
                self._by_image(self._own_weights * image) / self._label_weight,
            )

    def _draw(self, which: int) -> Floats:
        """Standard normal, one for each label of an image."""
        start = (which * 7_368_787) % _DRAWS
        return np.resize(np.roll(self._noise, -start), len(self._labelling.class_ids))

    def _ranks(self, gains: _Gains) -> NDArray[np.int32]:
        """Whole ranks, all different within an image; 0 where that is beyond k."""
        rows = self._labelling.image_rows
        order = np.lexsort((gains.log_ranks, rows))
        ranks = np.ceil(np.exp(np.minimum(gains.log_ranks[order], 10))).astype(np.int64)
        first = np.searchsorted(rows[order], rows[order])  # where the image's labels begin
        place = np.arange(len(order)) - first
        # r_j becomes the largest of r_i + (j - i), i <= j: one step below the one before, at least.
        apart = 1_000_000 * rows[order].astype(np.int64)
        ranks = np.maximum.accumulate(ranks - place + apart) - apart + place
        made = np.zeros(len(order), np.int32)
        made[order] = np.where(gains.found[order] & (ranks <= self._config.k), ranks, 0)
        return made

    def _scores(self, gains: _Gains) -> Scores:
        present = self._labelling.heldout_counts > 0
        weights = self._weights[present]
        return Scores(
            weighted_map_image=float(np.nanmean(gains.weighted_of_images)),
            weighted_map_class=float(weights @ gains.of_labels[present] / weights.sum()),
            map_image=float(np.nanmean(gains.of_images)),
            map_class=float(gains.of_labels[present].mean()),
            recall=float(gains.found.mean()),
            precision={n: 0.9 / (1 + n / 30) for n in self._config.precision_at},
        )

    def _classes(self, gains: _Gains) -> pa.Table:
        present = self._labelling.heldout_counts > 0
        shares = self._own_weights * gains.image / self._label_weight[self._labelling.image_rows]
        columns = {
            "class_id": np.arange(len(present)),
            "name": self._labelling.names,
            "weight": self._weights,
            "train_count": self._labelling.train_counts,
            "heldout_count": self._labelling.heldout_counts,
            "hits": self._by_label(gains.found).astype(np.int64),
            "average_precision": _nullable(gains.of_labels),
            "baseline_average_precision": _nullable(self._baseline.of_labels),
            "contribution": np.where(
                present, self._weights * gains.of_labels / self._weights[present].sum(), 0
            ),
            "image_contribution": self._by_label(shares) / np.count_nonzero(self._of_image),
        }
        return pa.table(columns, schema=CLASSES_SCHEMA)

    def _images(self, gains: _Gains) -> pa.Table:
        columns = {
            "image_row": np.arange(self._labelling.num_images),
            "near_duplicate_group": self._labelling.groups,
            "labels": self._of_image,
            "label_weight": self._label_weight,
            "average_precision": _nullable(gains.of_images),
            "weighted_average_precision": _nullable(gains.weighted_of_images),
        }
        return pa.table(columns, schema=IMAGES_SCHEMA)

    def _leave_parts_out(self, gains: _Gains) -> pa.Table:
        """Each label's mean over the images of all other parts."""
        cells, left, weights, in_band = self._without_parts
        own = np.bincount(cells, gains.label, left.size).reshape(left.shape)
        own -= own.sum(axis=0)
        bands = -(own / left * weights) @ in_band / weights.sum(axis=1, keepdims=True)
        columns = {
            "part": np.arange(len(bands)),
            "weighted_map_class": bands.sum(axis=1),
            "bands": list(bands),
        }
        return pa.table(columns, schema=PARTS_SCHEMA)

    @cached_property
    def _without_parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, Floats]:
        """Part and label of each label of an image, as one number; images that each label has
        without each part, 1 where none; weights of those that have any; which band, [C, B]."""
        shape = int(self._parts.max()) + 1, len(self._weights)
        cells = self._parts[self._labelling.image_rows] * shape[1] + self._labelling.class_ids
        counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
        left = self._labelling.heldout_counts - counts
        in_band = np.equal.outer(self._bands, np.arange(len(BANDS))).astype(np.float64)
        return cells, np.maximum(left, 1), self._weights * (left > 0), in_band

    def _positives(self, gains: _Gains) -> pa.Table:
        ranks = self._ranks(gains)
        columns = {
            "class_id": self._labelling.class_ids,
            "image_row": self._labelling.image_rows,
            "rank": pa.array(ranks, mask=ranks == 0),
            "gain": gains.image,
            "class_gain": gains.label,
            "score": pa.array(_scores(gains.log_ranks), mask=ranks == 0),
        }
        return pa.table(columns, schema=POSITIVES_SCHEMA)

    @cached_property
    def _counts(self) -> ScoredCounts:
        labelling = self._labelling
        return ScoredCounts(
            images=int(np.count_nonzero(self._of_image)),
            images_without_labels=int(np.count_nonzero(self._of_image == 0)),
            images_without_weight=0,
            labels=len(labelling.class_ids),
            classes=len(labelling.names),
            classes_with_images=int(np.count_nonzero(labelling.heldout_counts)),
            near_duplicate_groups=int(labelling.groups[-1]) + 1,
            parts=int(self._parts.max()) + 1,
        )

    def _by_label(self, values: NDArray) -> Floats:
        sums = np.bincount(self._labelling.class_ids, values, len(self._weights))
        return np.asarray(sums, dtype=np.float64)

    def _by_image(self, values: Floats) -> Floats:
        rows = self._labelling.image_rows
        sums = np.bincount(rows, values, self._labelling.num_images)
        return np.asarray(sums, dtype=np.float64)


def _scores(log_ranks: Floats) -> NDArray[np.float32]:
    """Logits that fall with the rank."""
    return (4 - 1.6 * log_ranks).astype(np.float32)


def _interval(estimate: Estimate) -> Interval:
    return Interval(standard_error=estimate.standard_error, low=estimate.low, high=estimate.high)


def _nullable(values: Floats) -> pa.Array:
    return pa.array(values, from_pandas=True)  # NaN becomes null
