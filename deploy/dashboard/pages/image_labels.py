"""The labels of one held-out image: their ranks in both evaluations, and what that adds up to."""

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from manylabel.eval.config import MetricForm


@dataclass(frozen=True)
class ImageLabel:
    """One label of the image.

    Attributes:
        class_id: Its row in the dataset's labels.
        name: What it is called.
        train_count: Training images that have it.
        candidate: Its rank in the candidate's ranking; None: not among the k best.
        reference: Likewise; None as well without a reference.
        contribution: What it adds to the difference through this image; None without a reference.
    """

    class_id: int
    name: str
    train_count: int
    candidate: int | None
    reference: int | None
    contribution: float | None


def rows_of_image(image_row: int, positives: pa.RecordBatch) -> pa.BooleanArray:
    """Which rows of positives.parquet, or of a part of it, are an image's."""
    return pc.equal(positives.column("image_row"), image_row)


def image_labels(
    candidate: pa.Table,
    reference: pa.Table | None,
    classes: pa.Table,
    form: MetricForm,
    counted: int,
) -> list[ImageLabel]:
    """Labels by the candidate's rank, those that were not found last.

    A label's part of the headline difference, through one image: in the image form
    w_c · Δgain / Σ_{labels of the image} w / I, in the class form w_c · Δclass_gain / N_c / Σ w.
    Summed over all images and labels both are the difference.

    Args:
        candidate: An image's rows of positives.parquet, by class.
        reference: Likewise; None without a reference.
        classes: The candidate's classes.parquet.
        counted: I, images that the image form counts.
    """
    ids = candidate.column("class_id").to_numpy()
    rows = classes.take(pa.array(ids))
    contributions: Sequence[float | None] = [None] * len(ids)
    before: Sequence[int | None] = [None] * len(ids)
    if reference is not None and reference.column("class_id").equals(candidate.column("class_id")):
        contributions = _contributions(candidate, reference, classes, ids, form, counted).tolist()
        before = reference.column("rank").to_pylist()
    labels = [
        ImageLabel(*each)
        for each in zip(
            ids.tolist(),
            rows.column("name").to_pylist(),
            rows.column("train_count").to_pylist(),
            candidate.column("rank").to_pylist(),
            before,
            contributions,
            strict=True,
        )
    ]
    return sorted(labels, key=lambda each: (each.candidate is None, each.candidate or 0))


def _contributions(
    candidate: pa.Table,
    reference: pa.Table,
    classes: pa.Table,
    ids: NDArray[np.int32],
    form: MetricForm,
    counted: int,
) -> NDArray[np.float64]:
    weights = classes.column("weight").to_numpy()
    images = classes.column("heldout_count").to_numpy()
    gain = "gain" if form is MetricForm.IMAGE else "class_gain"
    change = weights[ids] * (candidate.column(gain).to_numpy() - reference.column(gain).to_numpy())
    if form is MetricForm.CLASS:
        parts: NDArray[np.float64] = change / images[ids] / weights[images > 0].sum()
        return parts
    total = weights[ids].sum() * counted
    return change / total if total else np.zeros(len(ids))


def correction(image_id: str, labels: Sequence[ImageLabel], wrong: Collection[int]) -> str:
    """Lines of a catalog (image_path,label,confidence) that say of labels that they are absent."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for label in labels:
        if label.class_id in wrong:
            writer.writerow([image_id, label.name, 0])
    return text.getvalue().rstrip("\n")
