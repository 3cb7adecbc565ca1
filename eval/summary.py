"""What one evaluation says, and where each of its numbers comes from."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from manylabel.eval.config import EvalConfig, MetricForm

SUMMARY_FORMAT_VERSION = 1


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Provenance(_Stored):
    """What was evaluated, by what code.

    Attributes:
        run: Name or directory of the run.
        checkpoint: Location of the evaluated checkpoint.
        step: Updates applied when it was written.
        samples: Training images seen by then.
        code_version: Version of the project that evaluates.
        evaluated_at: Time of the evaluation, with its zone.
    """

    run: str
    checkpoint: str
    step: int
    samples: int
    code_version: str
    evaluated_at: datetime


class DatasetReference(_Stored):
    """The dataset whose held-out labels were used."""

    root: str
    fingerprint: str


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


class EvaluationSummary(_Stored):
    """One evaluation: summary.json.

    Attributes:
        provenance: Checkpoint, run and code.
        dataset: Whose held-out labels.
        config: The resolved settings; the weights they gave are in classes.parquet.
        counts: Images, labels and classes behind the means.
        scores: Of the evaluated predictions.
        baseline: Of ranking every image by training frequency, same images and settings.
    """

    format_version: int = SUMMARY_FORMAT_VERSION
    provenance: Provenance
    dataset: DatasetReference
    config: EvalConfig
    counts: ScoredCounts
    scores: Scores
    baseline: Scores

    @property
    def headline_name(self) -> str:
        """E.g. "weighted MAP@100 (image form)"."""
        return f"weighted MAP@{self.config.k} ({self.config.form} form)"

    @property
    def headline(self) -> float:
        return self.scores.weighted_map(self.config.form)

    @property
    def baseline_headline(self) -> float:
        return self.baseline.weighted_map(self.config.form)

    @property
    def ratio_to_baseline(self) -> float | None:
        """Headline over the baseline's; None when the baseline's is 0."""
        return self.headline / self.baseline_headline if self.baseline_headline else None
