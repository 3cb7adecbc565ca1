"""What one evaluation says, and where each of its numbers comes from."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from manylabel.eval.config import EvalConfig, MetricForm
from manylabel.storage.documents import Document
from manylabel.storage.locations import PathBelow


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
    """What the means are taken over; `images` have labels and are scored, `labels` are theirs.

    Near-duplicates count as one group, the unit of the image form's interval; the class form's
    leaves out one of `parts` at a time.
    """

    images: int
    images_without_labels: int
    images_without_weight: int
    labels: int
    classes: int
    classes_with_images: int
    near_duplicate_groups: int
    parts: int


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


class Interval(_Stored):
    """How sure a weighted MAP@k is, over other held-out images of the same kind.

    Attributes:
        standard_error: None where the images fall into fewer than two groups or parts.
        low, high: Ends of the 95% interval; None likewise.
    """

    standard_error: float | None
    low: float | None
    high: float | None


class Headline(_Stored):
    """The one number that stands for an evaluation, and what it is to be held against.

    Attributes:
        form: Which form of the weighted MAP@k it is.
        name: E.g. "weighted MAP@100 (class form)".
        value: Of the evaluated predictions.
        interval: Of that value.
        baseline: Of ranking every image by training frequency.
        ratio_to_baseline: None when the baseline's is 0.
    """

    form: MetricForm
    name: str
    value: float
    interval: Interval
    baseline: float
    ratio_to_baseline: float | None

    @classmethod
    def of(
        cls,
        form: MetricForm,
        k: int,
        scores: Scores,
        baseline: Scores,
        intervals: Mapping[MetricForm, Interval],
    ) -> Self:
        """The headline of a form."""
        value, reference = (each.weighted_map(form) for each in (scores, baseline))
        return cls(
            form=form,
            name=f"weighted MAP@{k} ({form} form)",
            value=value,
            interval=intervals[form],
            baseline=reference,
            ratio_to_baseline=value / reference if reference else None,
        )


class EvaluationSummary(Document):
    """One evaluation: summary.json.

    Attributes:
        headline: The number to look at first, in the form that the settings choose.
        settings: Name of the settings, see `settings.settings_key`; also of the directory.
        provenance: Checkpoint, run and code.
        dataset: Whose held-out labels.
        config: The resolved settings; the weights they gave are in classes.parquet.
        counts: Images, labels and classes behind the means.
        scores: Of the evaluated predictions.
        baseline: Of ranking every image by training frequency, same images and settings.
        intervals: Of the weighted MAP@k in each form.
    """

    NOUN: ClassVar[str] = "an evaluation summary"
    REMEDY: ClassVar[str] = "evaluate again"

    format_version: Literal[3] = 3
    headline: Headline
    settings: PathBelow
    provenance: Provenance
    dataset: DatasetReference
    config: EvalConfig
    counts: ScoredCounts
    scores: Scores
    baseline: Scores
    intervals: dict[MetricForm, Interval]

    def headline_of(self, form: MetricForm) -> Headline:
        """The headline in either form."""
        return Headline.of(form, self.config.k, self.scores, self.baseline, self.intervals)

    def in_form(self, form: MetricForm) -> Self:
        """The same results under the headline of a form."""
        config = self.config.model_copy(update={"form": form})
        return self.model_copy(update={"config": config, "headline": self.headline_of(form)})

    @model_validator(mode="after")
    def _headline_is_of_these_scores(self) -> Self:
        if self.intervals.keys() != set(MetricForm):
            raise ValueError(f"expected an interval of each form, received {list(self.intervals)}")
        if self.headline != self.headline_of(self.config.form):
            raise ValueError("the headline is not that of the scores and the baseline")
        return self
