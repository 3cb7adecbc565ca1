"""What one evaluation says, and where each of its numbers comes from."""

from datetime import datetime
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from manylabel.eval.config import EvalConfig, MetricForm
from manylabel.storage.documents import Document


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Provenance(_Stored):
    """What was evaluated, by what code.

    Attributes:
        run: Name or directory of the run.
        checkpoint: Location of the evaluated checkpoint.
        checkpoint_digest: What that checkpoint is.
        step: Updates applied when it was written.
        samples: Training images seen by then.
        code_version: Version of the project that evaluates.
        evaluated_at: Time of the evaluation, with its zone.
    """

    run: str
    checkpoint: str
    checkpoint_digest: str
    step: int
    samples: int
    code_version: str
    evaluated_at: datetime


class DatasetReference(_Stored):
    """The dataset whose held-out labels were used: where it was, and what it is."""

    root: str
    content_digest: str


class ScoredCounts(_Stored):
    """What the means are taken over; `images` have labels and are scored, `labels` are theirs."""

    images: int
    images_without_labels: int
    images_without_weight: int
    labels: int
    classes: int
    classes_with_images: int


class Scores(_Stored):
    """The metrics of one set of predictions, at the configuration's k; docs/metric.md has each."""

    weighted_map_image: float
    weighted_map_class: float
    map_image: float
    map_class: float
    recall: float
    precision: dict[int, float]

    def weighted_map(self, form: MetricForm) -> float:
        return self.weighted_map_image if form is MetricForm.IMAGE else self.weighted_map_class


class Headline(_Stored):
    """The one number that stands for an evaluation, and what it is to be held against.

    Attributes:
        name: E.g. "weighted MAP@100 (image form)".
        value: Of the evaluated predictions.
        baseline: Of ranking every image by training frequency.
        ratio_to_baseline: None when the baseline's is 0.
    """

    name: str
    value: float
    baseline: float
    ratio_to_baseline: float | None

    @classmethod
    def of(cls, config: EvalConfig, scores: Scores, baseline: Scores) -> Self:
        """The headline that the settings choose."""
        value, reference = (each.weighted_map(config.form) for each in (scores, baseline))
        return cls(
            name=f"weighted MAP@{config.k} ({config.form} form)",
            value=value,
            baseline=reference,
            ratio_to_baseline=value / reference if reference else None,
        )


class EvaluationSummary(Document):
    """One evaluation: summary.json.

    Attributes:
        headline: The number to look at first.
        settings: Name of the settings, see `settings.settings_key`; also of the directory.
        provenance: Checkpoint, run and code.
        dataset: Whose held-out labels.
        config: The resolved settings; the weights they gave are in classes.parquet.
        counts: Images, labels and classes behind the means.
        scores: Of the evaluated predictions.
        baseline: Of ranking every image by training frequency, same images and settings.
    """

    NOUN: ClassVar[str] = "an evaluation summary"
    REMEDY: ClassVar[str] = "evaluate again"

    format_version: Literal[2] = 2
    headline: Headline
    settings: str
    provenance: Provenance
    dataset: DatasetReference
    config: EvalConfig
    counts: ScoredCounts
    scores: Scores
    baseline: Scores

    @model_validator(mode="after")
    def _headline_is_of_these_scores(self) -> Self:
        if self.headline != Headline.of(self.config, self.scores, self.baseline):
            raise ValueError("the headline is not that of the scores and the baseline")
        return self
