"""Settings of the evaluation stage: the `eval:` section of the settings file."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from manylabel.storage.settings import SettingsSection


class WeightKind(StrEnum):
    """Where the weight of a class comes from; only the ratios between weights matter.

    UNIFORM: every class 1.
    TRAINING_SHARE: images of the training split that have the class.
    TRAINING_LOG_COUNT: log(1 + those images), natural logarithm.
    CSV: a table of class commonness from outside, as in the paper.
    """

    UNIFORM = "uniform"
    TRAINING_SHARE = "training_share"
    TRAINING_LOG_COUNT = "training_log_count"
    CSV = "csv"


class MetricForm(StrEnum):
    """The two readings of "class-weighted MAP@k"; both are defined in docs/metric.md.

    IMAGE: weighted average precision of each image's ranking, then the mean over images.
    CLASS: average precision of each class over the images, then the weighted mean over classes.
    """

    IMAGE = "image"
    CLASS = "class"


class UnknownKind(StrEnum):
    """What a class is that is neither a label of an image nor verified to be absent.

    NEGATIVE: a wrong prediction.
    IGNORE: no prediction: ranks are counted without it ("condensed lists", Sakai 2007).
    """

    NEGATIVE = "negative"
    IGNORE = "ignore"


class WeightsConfig(SettingsSection):
    """The class weights of the weighted metrics."""

    kind: WeightKind = Field(
        WeightKind.TRAINING_SHARE,
        description="uniform | training_share | training_log_count | csv. The paper weights by an "
        "estimate of commonness in social media, which is not public; how common a class is among "
        "the training images stands in for it.",
    )
    csv: str | None = Field(
        None,
        description="Path or URI of a UTF-8 CSV with the header label,weight; only with kind csv. "
        "It may hold labels that the dataset lacks.",
    )
    missing: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None,
        description="Weight, in the CSV's unit, of a label that the CSV lacks; only with kind csv. "
        "Without it such a label is an error.",
    )

    @model_validator(mode="after")
    def _csv_settings_belong_together(self) -> Self:
        if self.kind is WeightKind.CSV and self.csv is None:
            raise ValueError("kind csv needs the path of the table; set csv: PATH")
        for name in ("csv", "missing"):
            value = getattr(self, name)
            if self.kind is not WeightKind.CSV and value is not None:
                raise ValueError(
                    f"{name}={value!r} is used with kind csv only, received kind {self.kind}; "
                    f"remove {name} or set kind: csv"
                )
        return self


class EvalConfig(SettingsSection):
    """How predictions are scored."""

    k: int = Field(
        100,
        ge=1,
        description="Predictions of an image that count, best first; smaller vocabularies are "
        "ranked whole. Paper, section 4.1: MAP@100.",
    )
    batch_size: int = Field(
        64,
        ge=1,
        description="Images predicted or scored at a time; changes memory and speed, not the "
        "result. 64 images of 299 px are 69 MB as float32.",
    )
    weights: WeightsConfig = Field(
        default_factory=WeightsConfig, description="Class weights of the weighted metrics."
    )
    precision_at: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 5, 10),
        description="Ranks n of precision@n, each at most k. 1 and 5 after the paper's top-1 and "
        "top-5; 10 is our choice.",
    )
    form: MetricForm = Field(
        MetricForm.CLASS,
        description="image | class: which form of the weighted MAP@k is the headline; both are "
        "always computed. The paper weights the contribution of each class. With equal weights the "
        "image form is trec_eval's map_cut_k.",
    )
    unknown: UnknownKind = Field(
        UnknownKind.NEGATIVE,
        description="negative | ignore: what a predicted class is that is neither a label of the "
        "image nor verified to be absent. `ignore` takes it out of the rankings, for datasets that "
        "hold verified absences, as Open Images does.",
    )
    keep_predictions: int | None = Field(
        20,
        ge=1,
        description="Checkpoints of a run whose predictions stay, the newest ones; none: all. "
        "14,000 images are 11 MB. Those of champions and reviewed checkpoints stay beside them.",
    )

    @field_validator("precision_at")
    @classmethod
    def _ascending(cls, ranks: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(ranks)) < len(ranks):
            raise ValueError(f"expected different ranks, received {list(ranks)}; remove repeats")
        return tuple(sorted(ranks))

    @model_validator(mode="after")
    def _precision_within_k(self) -> Self:
        if self.precision_at and self.precision_at[-1] > self.k:
            raise ValueError(
                f"precision_at={list(self.precision_at)} needs {self.precision_at[-1]} "
                f"predictions an image, received k={self.k}; raise k or lower precision_at"
            )
        return self
