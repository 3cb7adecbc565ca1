"""What a review says: review.json, and the columns of the tables beside it."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from manylabel.eval.config import MetricForm, WeightKind
from manylabel.eval.statistics.bands import BandDifference
from manylabel.eval.statistics.differences import Difference, Verdict
from manylabel.eval.statistics.estimates import Estimate
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.promotions import Evidence, FormEvidence
from manylabel.storage.documents import Document, sha256_of
from manylabel.storage.locations import PathBelow

SHOWN_P = 0.05
"""A band is shown to differ at this p-value, adjusted by Holm, or below."""

LABELS_SCHEMA = pa.schema(
    [
        pa.field("class_id", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("band", pa.string(), nullable=False),
        pa.field("train_count", pa.int64(), nullable=False),
        pa.field("heldout_count", pa.int64(), nullable=False),
        pa.field("candidate_average_precision", pa.float64(), nullable=True),
        pa.field("reference_average_precision", pa.float64(), nullable=True),
        *(
            pa.field(f"{form}_{name}", pa.float64(), nullable=name != "contribution")
            for form in MetricForm
            for name in ("contribution", "p", "q")
        ),
    ]
)
"""labels.parquet: one row per label, `class_id` equal to the row number. `band`: name in
`statistics.bands.BANDS`; average precisions are null where no held-out image has the label. The
`contribution`s of a form add up to its difference; `p` and `q` (Benjamini and Hochberg, over the
labels tested) are null where the label has too few images."""

IMAGES_SCHEMA = pa.schema(
    [
        pa.field("image_row", pa.int64(), nullable=False),
        pa.field("image_id", pa.string(), nullable=True),
        pa.field("difference", pa.float64(), nullable=False),
        pa.field("candidate_average_precision", pa.float64(), nullable=False),
        pa.field("reference_average_precision", pa.float64(), nullable=False),
    ]
)
"""images.parquet: the images that differ most, largest first, of those that differ at all. Average
precisions are weighted ones, of the image's ranking: their difference, divided by the number of
counted images, is the image's part of the image form's difference. `image_id` is null where the
dataset could not be read."""


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reviewed(_Stored):
    """One of the two evaluations.

    Attributes:
        run: Name of the run's directory.
        step: Updates applied.
        samples: Training images seen.
        settings: Name of the settings; the same for both.
        checkpoint_digest: What was evaluated.
        dataset_digest: Content of the dataset; the same for both.
        evaluated_at: When.
        k: Predictions of an image that count.
        weights: Kind of the class weights.
    """

    run: PathBelow
    step: int
    samples: int
    settings: PathBelow
    checkpoint_digest: str
    dataset_digest: str
    evaluated_at: datetime
    k: int
    weights: WeightKind

    @property
    def name(self) -> EvaluationName:
        """Its RUN@STEP."""
        return EvaluationName(self.run, self.step)


class LabelCounts(_Stored):
    """How many labels can be told, and are shown to differ (false discovery rate 10%).

    Attributes:
        testable: Labels with held-out images of at least 8 near-duplicate groups.
        too_few: Labels with fewer.
        shown_better: Of the testable.
        shown_worse: Of the testable.
    """

    testable: int
    too_few: int
    shown_better: int
    shown_worse: int


class ImageCounts(_Stored):
    """Counted images by the sign of the difference of their weighted average precisions."""

    better: int
    worse: int
    equal: int

    @property
    def counted(self) -> int:
        """All of them."""
        return self.better + self.worse + self.equal


class FormReview(_Stored):
    """The weighted MAP@k in one form.

    Attributes:
        candidate: Its value.
        reference: Its value.
        candidate_baseline: Of ranking every image by training frequency; the same for both.
        difference: Candidate minus reference.
        verdict: What the difference shows, given the margin.
        bands: Parts of the difference by label frequency; they add up to it.
        labels: How many labels are shown to differ.
    """

    candidate: Estimate
    reference: Estimate
    candidate_baseline: float
    difference: Difference
    verdict: Verdict
    bands: tuple[BandDifference, ...]
    labels: LabelCounts

    @property
    def bands_shown_worse(self) -> tuple[BandDifference, ...]:
        """Those that lose by more than chance."""
        return tuple(
            each for each in self.bands if each.p_holm <= SHOWN_P and each.difference.value < 0
        )


class Check(_Stored):
    """One condition of a promotion.

    Attributes:
        name: By which a promotion overrides it: "bands".
        passed: Whether it holds.
        text: What was found, for people.
    """

    name: str
    passed: bool
    text: str


class Review(Document):
    """Two evaluations held against each other: review.json.

    Attributes:
        candidate: Is it better?
        reference: Than this one?
        form: Of the headline and of the checks.
        margin: Differences up to this size do not matter.
        forms: Both forms of the weighted MAP@k.
        images: How many images gained and lost, in the image form.
        groups: Near-duplicate groups that the counted images fall into.
        checks: What speaks against a promotion, or does not.
        looked_at: Checkpoints of the candidate's run that were evaluated in the same way: it may be
            the best of them by luck.
    """

    NOUN: ClassVar[str] = "a review"
    REMEDY: ClassVar[str] = "review again"

    format_version: Literal[1] = 1
    candidate: Reviewed
    reference: Reviewed
    form: MetricForm
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    forms: dict[MetricForm, FormReview]
    images: ImageCounts
    groups: int
    checks: tuple[Check, ...]
    looked_at: int

    @property
    def headline(self) -> FormReview:
        """The form that the settings, or the user, chose."""
        return self.forms[self.form]

    @property
    def digest(self) -> str:
        """Name of the review's directory."""
        return review_digest(self.candidate, self.reference, self.form, self.margin)

    def as_evidence(self) -> Evidence:
        """What a promotion that rests on this keeps of it."""
        return Evidence(
            review=self.digest,
            settings=self.candidate.settings,
            form=self.form,
            forms={
                form: FormEvidence(
                    difference=each.difference.value,
                    low=each.difference.low,
                    high=each.difference.high,
                    verdict=each.verdict,
                )
                for form, each in self.forms.items()
            },
        )

    @model_validator(mode="after")
    def _both_forms(self) -> Self:
        if self.forms.keys() != set(MetricForm):
            raise ValueError(f"expected both forms, received {list(self.forms)}")
        return self


def review_digest(candidate: Reviewed, reference: Reviewed, form: MetricForm, margin: float) -> str:
    """SHA-256, hexadecimal, of what is reviewed and how. The checks of facts beside it (is the
    checkpoint intact?) may be others when it is made again."""
    parts = _Key(
        version=Review.version(), candidate=candidate, reference=reference, form=form, margin=margin
    )
    return sha256_of(parts.model_dump_json().encode())


class _Key(_Stored):
    version: int
    candidate: Reviewed
    reference: Reviewed
    form: MetricForm
    margin: float
