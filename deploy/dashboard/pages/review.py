"""Review: promote, reject or wait?"""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.errors import NotThere, Problems
from manylabel.deploy.dashboard.page import Crumb, Page
from manylabel.deploy.dashboard.pages.compared import (
    Compared,
    compared,
)
from manylabel.deploy.dashboard.pages.pictures import Picture, picture_of
from manylabel.deploy.dashboard.pages.review_labels import ReviewLabels
from manylabel.deploy.dashboard.pages.review_told import charts_of, told
from manylabel.deploy.dashboard.pages.sides import (
    moved_command,
    open_dataset,
    open_side,
    open_sides,
)
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.remedies import evaluate_command, review_command
from manylabel.deploy.dashboard.view import View
from manylabel.eval.config import MetricForm
from manylabel.eval.review.model import Review
from manylabel.eval.review.store import read_review_images, read_review_labels
from manylabel.eval.store.evaluations import read_summary
from manylabel.eval.store.history import read_history

_MOVERS = 8
_PICTURES = 6


def page(store: Store, view: View, names: Mapping[str, str]) -> Page:
    """The review of `a` against `b`, or against the champion, as it was written."""
    problems = Problems()
    pair = compared(store, view, problems)
    if pair.reference is None:
        run = shlex.quote(str(store.root / pair.candidate.run))
        raise NotThere(
            f"{pair.candidate} has nothing to be reviewed against: there is no champion yet. Add "
            "&b=RUN@STEP to the address, or promote a first champion",
            f'manylabel promote {run} --step {pair.candidate.step} --reason "…"',
        )
    written = _written(store, pair, problems)
    if written is None:
        command = review_command(store, pair.candidate, pair.reference)
        return _unwritten(store, pair, command, problems)
    directory, review = written
    command = review_command(store, pair.candidate, pair.reference, review.margin)
    form = pair.view.form or review.form
    view = pair.view.with_defaults(form=review.form)
    pair = replace(pair, view=view)
    labels = problems.attempt(lambda: read_review_labels(directory), command)
    images = problems.attempt(lambda: read_review_images(directory), command)
    _check_current(store, review, command, problems)
    rows = None if labels is None else ReviewLabels(labels, form)
    link = pair.link("/labels/").replace("/labels/", "/labels/{class_id}", 1)
    table = None if rows is None else rows.as_table(link)
    figures = charts_of(review, form)
    return Page(
        template="review.html",
        title=f"{pair.candidate} against {pair.reference}",
        view=view,
        data=review.model_dump(mode="json"),
        context={
            "pair": pair,
            "review": review,
            "told": told(review, form),
            "undistinguished": _undistinguished(store, review, form, problems),
            "movers": None if rows is None else rows.movers(_MOVERS),
            "pictures": _pictures(pair, _heldout(store, review, problems), images),
            "label_link": lambda class_id: pair.link(f"/labels/{class_id}"),
            "promote": _promote_command(store, review),
            "command": command,
        },
        tables={} if table is None else {"labels": table},
        figures={chart.name: chart for chart in figures},
        problems=problems.found,
        form=form,
        trail=_trail(view, pair),
    )


def _written(store: Store, pair: Compared, problems: Problems) -> tuple[Path, Review] | None:
    """The newest review of the two and its directory; what cannot be read may have been it."""
    unreadable, found = Problems(), []
    wanted = pair.view.text("settings") or ""
    for path in sorted((store.root / "reviews").glob("*/review.json")):
        review = unreadable.attempt(partial(store.cached, path, Review.read))
        if review is not None and _is_of(review, pair, wanted):
            written = unreadable.attempt(path.stat)
            found.append((0 if written is None else written.st_mtime_ns, path.parent, review))
    if not found and pair.reference is not None:
        command = review_command(store, pair.candidate, pair.reference)
        for problem in unreadable.found:
            problems.add(problem.text, command)
    return max(found, key=lambda each: each[:2])[1:] if found else None


def _is_of(review: Review, pair: Compared, settings: str) -> bool:
    names = review.candidate.name, review.reference.name
    same = names == (pair.candidate, pair.reference)
    return same and review.candidate.settings.startswith(settings)


def _unwritten(store: Store, pair: Compared, command: str, problems: Problems) -> Page:
    """The page before a review was written: both values, and the command."""
    try:
        known = open_sides(store, pair, problems).all
    except NotThere as error:
        problems.add(error, error.command)
        known = ()
    if known:
        view = pair.view.with_defaults(form=known[0].summary.config.form)
        pair = replace(pair, view=view)
    form = pair.view.form if known else None
    headlines = [(each.name, each.summary.headline_of(form)) for each in known if form is not None]
    return Page(
        template="review.html",
        title=f"{pair.candidate} against {pair.reference}",
        view=pair.view,
        data={
            "review": None,
            "command": command,
            "evaluations": {str(name): each.model_dump(mode="json") for name, each in headlines},
        },
        context={"pair": pair, "review": None, "command": command, "headlines": headlines},
        problems=problems.found,
        form=form,
        trail=_trail(pair.view, pair),
    )


def _check_current(store: Store, review: Review, command: str, problems: Problems) -> None:
    """Whether both evaluations are still those that were reviewed."""
    for side in (review.candidate, review.reference):
        run = store.root / side.run
        summary = problems.attempt(
            partial(read_summary, run, side.step, side.settings),
            evaluate_command(store, side.name),
        )
        if summary is not None and summary.provenance.evaluated_at != side.evaluated_at:
            problems.add(f"{side.name} was evaluated again after this review was written", command)


def _undistinguished(
    store: Store, review: Review, form: MetricForm, problems: Problems
) -> tuple[int, int] | None:
    """How many of the run's checkpoints cannot be told from its best, and of how many."""
    side = review.candidate
    if review.looked_at < 2:
        return None
    history = problems.attempt(
        lambda: read_history(store.root / side.run, side.settings),
        evaluate_command(store, side.name),
    )
    if history is None:
        return None
    alike = history.evaluations.column(f"{form}_undistinguished").to_pylist()
    return sum(alike), len(alike)


def _pictures(
    pair: Compared, heldout: pa.Table | None, images: pa.Table | None
) -> tuple[list[Picture], list[Picture]] | None:
    """The images that gained and lost most, at most `_PICTURES` of each."""
    if images is None:
        return None
    gained: list[Picture] = []
    lost: list[Picture] = []
    for row in images.to_pylist():
        side = gained if row["difference"] > 0 else lost
        if len(side) < _PICTURES:
            caption = formats.difference_ap(row["difference"])
            side.append(picture_of(pair, heldout, row["image_row"], caption))
    return gained, lost


def _heldout(store: Store, review: Review, problems: Problems) -> pa.Table | None:
    """The held-out images that were reviewed; None where the dataset cannot be read."""
    side = problems.attempt(
        lambda: open_side(store, review.candidate.name, review.candidate.settings),
        evaluate_command(store, review.candidate.name),
    )
    if side is None:
        return None
    return problems.attempt(lambda: open_dataset(side).heldout_images(), moved_command(side))


def _promote_command(store: Store, review: Review) -> str:
    failed = [f" --override {check.name}" for check in review.checks if not check.passed]
    run = shlex.quote(str(store.root / review.candidate.run))
    return f'manylabel promote {run} --step {review.candidate.step} --reason "…"{"".join(failed)}'


def _trail(view: View, pair: Compared) -> list[Crumb]:
    run = pair.candidate.run
    return [Crumb(run, view.to(f"/runs/{run}")), Crumb("Review", view.url())]
