"""Image: is the model wrong, or the label?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.errors import BadAddress, NotThere, Problems
from manylabel.deploy.dashboard.page import Crumb, Page
from manylabel.deploy.dashboard.pages import thumbnail
from manylabel.deploy.dashboard.pages.compared import Compared, compared
from manylabel.deploy.dashboard.pages.confusions import why_no_predictions
from manylabel.deploy.dashboard.pages.image_labels import (
    ImageLabel,
    correction,
    image_labels,
    rows_of_image,
)
from manylabel.deploy.dashboard.pages.pictures import Picture, breakable, image_name, picture_of
from manylabel.deploy.dashboard.pages.rankings import read_ranking
from manylabel.deploy.dashboard.pages.sides import (
    Side,
    Sides,
    moved_command,
    open_dataset,
    open_sides,
    predict_command,
)
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.view import View, number
from manylabel.eval.config import MetricForm
from manylabel.eval.store.evaluations import (
    predictions_path,
    read_classes,
    read_images,
)
from manylabel.eval.store.predictions import read_origin

_BEST = 20
_SIZE = 640  # Pixels of the picture's longer side.
_DUPLICATES = 12


@dataclass(frozen=True)
class Guess:
    """One place of a ranking, as it is shown.

    Attributes:
        name: Of the label.
        score: As text: a probability, or another tool's score.
        hit: Whether the image has the label.
    """

    rank: int
    class_id: int
    name: str
    score: str
    hit: bool


@dataclass(frozen=True)
class Ranking:
    """The best labels of an image by one evaluation.

    Attributes:
        missing: Why there are none; None: there are, or the file is named among the problems.
    """

    side: Side
    guesses: list[Guess]
    missing: str | None


@dataclass(frozen=True)
class ImageFacts:
    """One image in both evaluations.

    Attributes:
        candidate: Weighted average precision of its ranking; None: its labels weigh nothing.
        reference: Likewise; None as well without a reference.
        place: Its place among the images by the size of the change, from 1; None without one.
        counted: Images that the image form counts.
    """

    candidate: float | None
    reference: float | None
    place: int | None
    counted: int


def page(store: Store, view: View, names: Mapping[str, str]) -> Page:
    """A held-out image of `a`, against `b` or the champion where there is one."""
    problems = Problems()
    pair = compared(store, view, problems)
    sides = open_sides(store, pair, problems)
    candidate = sides.candidate
    view = pair.view.with_defaults(form=candidate.summary.config.form)
    form = view.form or candidate.summary.config.form
    pair = replace(pair, view=view)
    row = _number(names["image"])
    heldout = problems.attempt(
        lambda: open_dataset(candidate).heldout_images(), moved_command(candidate)
    )
    if heldout is not None and row >= heldout.num_rows:
        raise NotThere(f"There is no held-out image {row}; the last one is {heldout.num_rows - 1}")
    image_id = None if heldout is None else heldout.column("image_id")[row].as_py()
    facts = _facts(sides, row, problems)
    classes = candidate.table(read_classes, problems)
    labels = _labels(sides, row, classes, facts, form, problems)
    wrong = _wrong(view, labels)
    title = image_name(heldout, row)
    return Page(
        template="image.html",
        title=title,
        view=view,
        data={
            "image_row": row,
            "image_id": image_id,
            "average_precision": vars(facts),
            "labels": [vars(label) for label in labels],
        },
        context={
            "pair": pair,
            "predict_command": predict_command,
            "sides": sides,
            "heading": breakable(title),
            "picture": _large(pair, heldout, row),
            "facts": facts,
            "labels": labels,
            "share": _share(labels),
            "small": _millionths,
            "rankings": _rankings(sides, image_id, classes, labels, problems),
            "duplicates": _duplicates(pair, heldout, row),
            "wrong": wrong,
            "toggled": lambda class_id: view.url(wrong=_toggled(wrong, class_id)),
            "correction": correction(title, labels, wrong),
            "label_link": lambda class_id: pair.link(f"/labels/{class_id}"),
        },
        problems=problems.found,
        form=form,
        trail=_trail(pair, title),
    )


def _large(pair: Compared, heldout: pa.Table | None, row: int) -> str | None:
    """Address of the picture; None where the dataset cannot be read."""
    if heldout is None:
        return None
    return thumbnail.address(pair.view, pair.candidate.run, row, _SIZE)


def _number(text: str) -> int:
    found = number(text)
    if found is None:
        raise NotThere(f"{text[:40]!r} is no image: addresses name images by image_row, a number")
    return found


def _wrong(view: View, labels: list[ImageLabel]) -> list[int]:
    """Labels that somebody called wrong in the address: wrong=3,17."""
    words = (view.text("wrong") or "").split(",")
    if any(number(word) is None for word in words if word):
        raise BadAddress(f"wrong={view.text('wrong')}: expected class ids with commas between them")
    there = {label.class_id for label in labels}
    return [int(word) for word in words if word and int(word) in there]


def _toggled(wrong: list[int], class_id: int) -> str:
    rest = [each for each in wrong if each != class_id]
    return ",".join(map(str, rest if class_id in wrong else [*rest, class_id]))


def _facts(sides: Sides, row: int, problems: Problems) -> ImageFacts:
    values = []
    for side in sides.all:
        table = side.table(read_images, problems)
        if table is not None and row < table.num_rows:
            values.append(table.column("weighted_average_precision").to_numpy())
        else:
            values.append(np.full(row + 1, np.nan))
    own, *others = values
    counted = int(np.count_nonzero(~np.isnan(own)))
    if not others or len(others[0]) != len(own):
        return ImageFacts(_known(own[row]), None, None, counted)
    change = np.abs(own - others[0])
    place = None if np.isnan(change[row]) else int(np.count_nonzero(change > change[row])) + 1
    return ImageFacts(_known(own[row]), _known(others[0][row]), place, counted)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _labels(
    sides: Sides,
    row: int,
    classes: pa.Table | None,
    facts: ImageFacts,
    form: MetricForm,
    problems: Problems,
) -> list[ImageLabel]:
    columns = (
        "class_id",
        "image_row",
        "rank",
        "gain" if form is MetricForm.IMAGE else "class_gain",
    )
    own, *others = (
        side.rows("positives", columns, partial(rows_of_image, row), problems) for side in sides.all
    )
    if own is None or classes is None:
        return []
    return image_labels(own, others[0] if others else None, classes, form, facts.counted)


def _share(labels: list[ImageLabel]) -> float | None:
    """What the image adds to the difference."""
    parts = [label.contribution for label in labels if label.contribution is not None]
    return sum(parts) if parts else None


def _millionths(value: float | None) -> str:
    """What one image adds to a difference, in units of 10⁻⁶: one of 14,000 has 10⁻⁴ at most."""
    return formats.contribution(None if value is None else value * 100)


def _rankings(
    sides: Sides,
    image_id: str | None,
    classes: pa.Table | None,
    labels: list[ImageLabel],
    problems: Problems,
) -> list[Ranking]:
    if image_id is None or classes is None:
        return []
    names, own = classes.column("name"), {label.class_id for label in labels}
    return [_ranking(side, image_id, names, own, problems) for side in sides.all]


def _ranking(
    side: Side, image_id: str, names: pa.ChunkedArray, own: set[int], problems: Problems
) -> Ranking:
    missing = why_no_predictions(side)
    if missing is not None:
        return Ranking(side, [], missing)
    step = side.name.step
    best = problems.attempt(lambda: read_ranking(side.run_dir, step, image_id, _BEST), side.command)
    origin = problems.attempt(
        lambda: read_origin(predictions_path(side.run_dir, step)), side.command
    )
    guesses = []
    for rank, each in enumerate(best or [], start=1):
        score = formats.measure(each.score)
        if origin is not None:
            score = formats.average_precision(origin.score_kind.probability(each.score))
        name = names[each.class_id].as_py()
        guesses.append(Guess(rank, each.class_id, name, score, each.class_id in own))
    return Ranking(side, guesses, None)


def _duplicates(pair: Compared, heldout: pa.Table | None, row: int) -> list[Picture]:
    """Other images of the same near-duplicate group."""
    if heldout is None:
        return []
    groups = heldout.column("near_duplicate_group")
    alike = heldout.filter(pc.equal(groups, groups[row]))
    others = [each for each in alike.to_pylist() if each["image_row"] != row]
    return [picture_of(pair, heldout, each["image_row"], "") for each in others[:_DUPLICATES]]


def _trail(pair: Compared, title: str) -> list[Crumb]:
    run = pair.candidate.run
    trail = [Crumb(run, pair.view.to(f"/runs/{run}"))]
    if pair.reference is not None:
        trail.append(Crumb("Review", pair.link("/review")))
    return [*trail, Crumb(title.rpartition("/")[2], pair.view.url())]
