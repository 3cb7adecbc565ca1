"""What predictions say of a label beyond its own images: where it is seen, what instead of it."""

from dataclasses import dataclass

import pyarrow as pa

from manylabel.deploy.dashboard.errors import Problems
from manylabel.deploy.dashboard.pages.compared import Compared
from manylabel.deploy.dashboard.pages.label_images import LabelImages
from manylabel.deploy.dashboard.pages.pictures import Picture, picture_of
from manylabel.deploy.dashboard.pages.rankings import (
    Instead,
    near_hits,
    near_rows,
    predicted_instead,
    read_label_rankings,
    without_label,
)
from manylabel.deploy.dashboard.pages.sides import Side
from manylabel.eval.store.evaluations import predictions_path, why_dropped


@dataclass(frozen=True)
class Confusions:
    """Of the candidate.

    Attributes:
        without: Images without the label that rank it high, highest score first.
        near: How many images without it have it among their ten best.
        instead: Labels that are often predicted in its place, with their names.
    """

    without: list[Picture]
    near: int
    instead: list[tuple[Instead, str]]


def why_no_predictions(side: Side) -> str | None:
    """Why there are no predictions to look at; None: there are."""
    if predictions_path(side.run_dir, side.name.step).is_file():
        return None
    why = why_dropped(side.run_dir, side.name.step)
    return f"The predictions of {side.name} are not kept{f': {why}' if why else ''}."


def confusions_of(
    pair: Compared,
    side: Side,
    class_id: int,
    images: LabelImages,
    heldout: pa.Table,
    classes: pa.Table,
    problems: Problems,
) -> Confusions | None:
    """None where the predictions cannot be read.

    Args:
        side: The candidate.
        images: The label's.
        heldout: HELDOUT_IMAGES_SCHEMA.
        classes: The candidate's classes.parquet.
    """
    ids = heldout.column("image_id")
    rankings = problems.attempt(
        lambda: read_label_rankings(side.run_dir, side.name.step, ids, class_id), side.command
    )
    positives = side.rows("positives", ("image_row", "rank"), near_rows, problems)
    if rankings is None or positives is None:
        return None
    found, near = without_label(rankings, images.image_rows)
    hits = near_hits(positives, heldout.num_rows)
    instead = predicted_instead(rankings, hits, images.image_rows, images.candidate)
    names = classes.column("name")
    return Confusions(
        [picture_of(pair, heldout, each.image_row, f"rank {each.rank:,}") for each in found],
        near,
        [(each, names[each.class_id].as_py()) for each in instead],
    )
