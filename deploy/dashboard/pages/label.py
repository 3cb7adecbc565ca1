"""Label: is what it gained or lost real, noise, or are the labels wrong?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from manylabel.deploy.dashboard.charts.differences import LabelHistory, label_history
from manylabel.deploy.dashboard.charts.svg import Chart
from manylabel.deploy.dashboard.errors import NotThere, Problems
from manylabel.deploy.dashboard.page import Crumb, Page
from manylabel.deploy.dashboard.pages.compared import Compared, compared
from manylabel.deploy.dashboard.pages.confusions import confusions_of, why_no_predictions
from manylabel.deploy.dashboard.pages.label_images import LabelImages
from manylabel.deploy.dashboard.pages.pictures import Picture, image_name, picture_of
from manylabel.deploy.dashboard.pages.sides import (
    Sides,
    moved_command,
    open_dataset,
    open_sides,
    predict_command,
)
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.tables import Table
from manylabel.deploy.dashboard.view import View, number
from manylabel.eval.config import MetricForm
from manylabel.eval.statistics.bands import BANDS, band_of
from manylabel.eval.store.evaluations import read_classes, read_positives
from manylabel.eval.store.history import read_label_history

_PICTURES = 8
_CONTRIBUTIONS = {MetricForm.CLASS: "contribution", MetricForm.IMAGE: "image_contribution"}


@dataclass(frozen=True)
class LabelFacts:
    """One label in both evaluations.

    Attributes:
        candidate: Its row in classes.parquet.
        reference: Likewise; None without a reference.
        contribution: What it adds to the difference, in the form that is shown.
    """

    candidate: Mapping[str, Any]
    reference: Mapping[str, Any] | None
    contribution: float | None

    @property
    def change(self) -> float | None:
        """Of its average precision."""
        if self.reference is None or self.candidate["average_precision"] is None:
            return None
        change: float = self.candidate["average_precision"] - self.reference["average_precision"]
        return change

    @property
    def band(self) -> str:
        """By its training images."""
        return BANDS[int(band_of(self.candidate["train_count"]))].name


@dataclass(frozen=True)
class _Opened:
    """What the parts of a page are made from."""

    pair: Compared
    sides: Sides
    class_id: int
    form: MetricForm
    heldout: pa.Table | None
    problems: Problems


def page(store: Store, view: View, names: Mapping[str, str]) -> Page:
    """A label of `a`, against `b` or the champion where there is one."""
    problems = Problems()
    pair = compared(store, view, problems)
    sides = open_sides(store, pair, problems)
    candidate = sides.candidate
    view = pair.view.with_defaults(form=candidate.summary.config.form)
    form = view.form or candidate.summary.config.form
    heldout = problems.attempt(
        lambda: open_dataset(candidate).heldout_images(), moved_command(candidate)
    )
    pair = replace(pair, view=view)
    opened = _Opened(pair, sides, _number(names["label"]), form, heldout, problems)

    classes = [side.table(read_classes, problems) for side in sides.all]
    facts = _facts(opened, classes)
    name = f"label {opened.class_id}" if facts is None else facts.candidate["name"]
    images = _images(opened)
    gained, lost = ([], []) if images is None else images.changed(_PICTURES)
    table = None if images is None else _table(opened, images)
    chart = _history(opened, name, facts)
    missing = why_no_predictions(candidate)
    confusions = None
    if images is not None and heldout is not None and classes[0] is not None and missing is None:
        confusions = confusions_of(
            pair, candidate, opened.class_id, images, heldout, classes[0], problems
        )
    return Page(
        template="label.html",
        title=name,
        view=view,
        data=_data(opened, facts, images),
        context={
            "pair": pair,
            "predict_command": predict_command,
            "sides": sides,
            "facts": facts,
            "images": images,
            "gained": _pictures(opened, images, gained),
            "lost": _pictures(opened, images, lost),
            "missing": missing,
            "confusions": confusions,
            "label_link": lambda other: pair.link(f"/labels/{other}"),
        },
        tables={} if table is None else {"images": table},
        figures={} if chart is None else {"history": chart},
        problems=problems.found,
        form=form,
        trail=_trail(pair, name),
    )


def _number(text: str) -> int:
    found = number(text)
    if found is None:
        raise NotThere(f"{text[:40]!r} is no label: addresses name labels by class_id, a number")
    return found


def _facts(opened: _Opened, classes: list[pa.Table | None]) -> LabelFacts | None:
    own, *others = classes
    if own is None:
        return None
    if opened.class_id >= own.num_rows:
        raise NotThere(
            f"{opened.pair.candidate} has no label {opened.class_id}; its labels are 0 to "
            f"{own.num_rows - 1}"
        )
    candidate = own.slice(opened.class_id, 1).to_pylist()[0]
    if not others or others[0] is None:
        return LabelFacts(candidate, None, None)
    reference = others[0].slice(opened.class_id, 1).to_pylist()[0]
    column = _CONTRIBUTIONS[opened.form]
    return LabelFacts(candidate, reference, candidate[column] - reference[column])


def _images(opened: _Opened) -> LabelImages | None:
    read = partial(read_positives, class_id=opened.class_id)
    own, *others = (side.table(read, opened.problems) for side in opened.sides.all)
    if own is None:
        return None
    return LabelImages.of(own, others[0] if others else None, opened.form)


def _table(opened: _Opened, images: LabelImages) -> Table:
    link = opened.pair.link("/images/").replace("/images/", "/images/{image_row}", 1)
    if opened.heldout is None or opened.heldout.num_rows <= images.image_rows.max(initial=0):
        return images.as_table([image_name(None, row) for row in images.image_rows], link)
    ids = opened.heldout.column("image_id").take(pa.array(images.image_rows))
    return images.as_table(ids.to_pylist(), link)


def _pictures(opened: _Opened, images: LabelImages | None, places: list[int]) -> list[Picture]:
    if images is None:
        return []
    return [
        picture_of(opened.pair, opened.heldout, int(images.image_rows[place]), images.told(place))
        for place in places
    ]


def _history(opened: _Opened, name: str, facts: LabelFacts | None) -> Chart | None:
    side = opened.sides.candidate
    read = partial(read_label_history, side.run_dir, side.summary.settings, opened.class_id)
    history = opened.problems.attempt(read, side.command)
    if history is None or history.num_rows == 0:
        return None
    columns = [history.column(each).to_pylist() for each in ("step", "average_precision")]
    before = None if facts is None or facts.reference is None else facts.reference
    told = LabelHistory(
        label=name,
        run=side.name.run,
        points=list(zip(*columns, strict=True)),
        candidate=side.name.step,
        reference=None
        if before is None or before["average_precision"] is None
        else (before["average_precision"], str(opened.pair.reference)),
        images=history.column("heldout_count")[0].as_py(),
    )
    return label_history("history", told)


def _data(opened: _Opened, facts: LabelFacts | None, images: LabelImages | None) -> dict[str, Any]:
    return {
        "class_id": opened.class_id,
        "evaluations": [str(side.name) for side in opened.sides.all],
        "candidate": None if facts is None else facts.candidate,
        "reference": None if facts is None else facts.reference,
        "contribution": None if facts is None else facts.contribution,
        "heldout_images": None if images is None else len(images.image_rows),
    }


def _trail(pair: Compared, name: str) -> list[Crumb]:
    run = pair.candidate.run
    trail = [Crumb(run, pair.view.to(f"/runs/{run}"))]
    if pair.reference is not None:
        trail.append(Crumb("Review", pair.link("/review")))
    return [*trail, Crumb(name, pair.view.url())]
