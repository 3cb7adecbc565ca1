"""The report file: one review as a page that needs neither network nor script."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.app import environment
from manylabel.deploy.dashboard.charts.svg import Chart
from manylabel.deploy.dashboard.errors import UNREADABLE
from manylabel.deploy.dashboard.pages.pictures import Picture
from manylabel.deploy.dashboard.pages.review_labels import ReviewLabels
from manylabel.deploy.dashboard.pages.review_told import Told, charts_of, told
from manylabel.deploy.dashboard.states import open_dataset
from manylabel.deploy.dashboard.thumbnails import thumbnail
from manylabel.eval.config import MetricForm
from manylabel.eval.review.model import Review
from manylabel.eval.review.store import read_review, read_review_images, read_review_labels
from manylabel.eval.store.evaluations import read_summary
from manylabel.storage.atomic import replacing
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import DatasetError
from manylabel.storage.provenance import code_version

LABELS = 200
"""Labels in the table: those that add most to the difference, in either direction."""

_MOVERS = 8
_PICTURES = 6
_SIZE = 160  # Pixels of a picture's longer side; about 5 kB each.
_STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True)
class FormSection:
    """What the report says of one form of the metric."""

    form: MetricForm
    told: Told
    bands: Chart


def write_report(root: Path, review_directory: Path, output: Path) -> None:
    """Writes the report of a review as one HTML file, at once.

    Args:
        root: Folder of runs.
        review_directory: Where the review lies, below `root`.
        output: The file.

    Raises:
        EvaluationError, StorageError: the review is missing or damaged.
    """
    with replacing(output) as file:
        file.write(build_report(root, review_directory))


def build_report(root: Path, review_directory: Path) -> bytes:
    """The report as HTML: styles, charts and pictures inside, and a policy that allows no others.

    Raises:
        EvaluationError, StorageError: the review is missing or damaged.
    """
    review = read_review(review_directory)
    labels = ReviewLabels(read_review_labels(review_directory), review.form)
    gained, lost, missing = _pictures(root, review, read_review_images(review_directory))
    forms = [review.form, *(form for form in MetricForm if form is not review.form)]
    sections = [_section(review, form) for form in forms]
    _, both, images = charts_of(review, review.form)
    styles = [_style("figure.css"), _style("style.css")]
    table = labels.as_table("")
    text = (
        environment()
        .get_template("report.html")
        .render(
            review=review,
            headline=sections[0],
            other=sections[1],
            both=both,
            images=images,
            movers=labels.movers(_MOVERS),
            gained=gained,
            lost=lost,
            missing=missing,
            table=table,
            rows=_largest(labels),
            styles=styles,
            policy=_policy(styles),
            version=code_version(),
            labels_path=f"{review_directory.parent.name}/{review_directory.name}/labels.parquet",
        )
    )
    return text.encode()


def _section(review: Review, form: MetricForm) -> FormSection:
    bands = charts_of(review, form)[0]
    return FormSection(form, told(review, form), replace(bands, name=f"bands-{form}"))


def _largest(labels: ReviewLabels) -> list[int]:
    """Rows of the labels that add most, in either direction."""
    order = np.argsort(-np.abs(labels.contributions()), kind="stable")
    return [int(row) for row in order[:LABELS]]


def _pictures(
    root: Path, review: Review, images: pa.Table
) -> tuple[list[Picture], list[Picture], str | None]:
    """The images that gained and lost most; and why there are no pictures, if there are none."""
    rows = images.to_pylist()
    gained = [row for row in rows if row["difference"] > 0][:_PICTURES]
    lost = [row for row in rows if row["difference"] < 0][:_PICTURES]
    try:
        dataset = _dataset(root, review)
        shown = [[_picture(dataset, row) for row in side] for side in (gained, lost)]
    except UNREADABLE as error:
        return [], [], str(error)
    return shown[0], shown[1], None


def _dataset(root: Path, review: Review) -> Dataset:
    side = review.candidate
    reference = read_summary(root / side.run, side.step, side.settings).dataset
    dataset = open_dataset(reference.root)
    if dataset.content_digest != side.dataset_digest:
        raise DatasetError(f"{dataset.root}: is not the dataset that was reviewed")
    return dataset


def _picture(dataset: Dataset, row: dict[str, object]) -> Picture:
    image_row, difference = row["image_row"], row["difference"]
    assert isinstance(image_row, int)
    assert isinstance(difference, float)
    data = base64.b64encode(thumbnail(dataset, image_row, _SIZE)).decode()
    name = str(row["image_id"] or f"held-out image {image_row:,}")
    return Picture(
        source=f"data:image/jpeg;base64,{data}",
        href="",
        alt=name,
        caption=formats.difference_ap(difference),
    )


def _style(name: str) -> Markup:
    """A style sheet of ours, which holds no "<"."""
    return Markup((_STATIC / name).read_text("utf-8"))


def _policy(styles: Sequence[Markup]) -> str:
    """A content security policy: these styles, pictures in the file, and nothing else."""
    digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in styles]
    allowed = " ".join(f"'sha256-{each}'" for each in digests)
    return f"default-src 'none'; style-src {allowed}; img-src data:; base-uri 'none'"
