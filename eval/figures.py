"""Pictures of results: the training profile and the contact sheet.

Figures are built without pyplot, so that drawing changes no global state and needs no display.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, MaxNLocator

from manylabel.eval.errors import EvaluationError
from manylabel.eval.samples import Sample
from manylabel.eval.sheet import (
    CELL,
    INK,
    LABEL_LINES,
    LINE_HEIGHT,
    MARGIN,
    PICTURE,
    QUIET,
    RULE,
    Page,
)
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.storage.atomic import replacing
from manylabel.storage.locations import Location

_LINE = "#0969da"
_DPI = 150
_PAD = 0.12
_COLUMNS = 6
_HEADER = 0.75
_FEWEST_COLUMNS = 4  # Of the page, which is to hold its title.
_TELLING = (
    "Of many labels: the rarest found ✓, those ranked lower than by frequency alone ✗, and the "
    "best that is no label; # is the rank"
)


def training_profile(summaries: Sequence[EvaluationSummary], path: Location) -> None:
    """Draws the headline metric against training images seen, with the baseline as a line.

    Args:
        summaries: Evaluations of one run's checkpoints, in any order.
        path: PNG to write, 1,200 pixels wide.

    Raises:
        EvaluationError: there is none, or they differ in dataset, metric or weights, so that a
            line through them would mean nothing.
    """
    _save(build_training_profile(summaries), path)


def build_training_profile(summaries: Sequence[EvaluationSummary]) -> Figure:
    """The figure of `training_profile`."""
    ordered = sorted(summaries, key=lambda summary: summary.provenance.samples)
    if not ordered:
        raise EvaluationError("training profile: no evaluations to draw; run `manylabel evaluate`")
    last = ordered[-1]
    for summary in ordered:
        if _terms(summary) != _terms(last):
            raise EvaluationError(
                f"training profile: the evaluations of steps {summary.provenance.step} and "
                f"{last.provenance.step} differ in dataset, metric or weights; evaluate again"
            )
    figure = Figure(
        figsize=(8, 4.5), dpi=_DPI, layout=ConstrainedLayoutEngine(w_pad=_PAD, h_pad=_PAD)
    )
    _draw_profile(figure.add_subplot(), ordered)
    return figure


def _terms(summary: EvaluationSummary) -> tuple[object, ...]:
    """What must be equal for two headlines to be compared."""
    return summary.dataset.content_digest, summary.settings, summary.headline.form


def _draw_profile(axes: Axes, ordered: Sequence[EvaluationSummary]) -> None:
    last = ordered[-1]
    samples = [summary.provenance.samples for summary in ordered]
    values = [summary.headline.value for summary in ordered]
    highest = max(summary.headline.interval.high or 0.0 for summary in ordered)
    axes.set_xlim(0, max(*samples, 1))
    axes.set_ylim(0, 1.15 * max(*values, last.headline.baseline, highest) or 1)
    _draw_intervals(axes, ordered)
    axes.plot(samples, values, color=_LINE, linewidth=2, marker="o", clip_on=False, zorder=3)
    axes.annotate(
        f"{last.headline.value:.3f}{_times_baseline(last)}",
        (samples[-1], last.headline.value),
        xytext=(10, 0),
        textcoords="offset points",
        va="center",
        color=_LINE,
        size=11,
        weight="bold",
        annotation_clip=False,
    )
    _draw_baseline(axes, last)
    _label_profile(axes, ordered)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=QUIET, length=0, labelsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)


def _draw_intervals(axes: Axes, ordered: Sequence[EvaluationSummary]) -> None:
    """A band around the curve, and a line through each value, where there is an interval."""
    intervals = [summary.headline.interval for summary in ordered]
    samples = [summary.provenance.samples for summary in ordered]
    low = np.array([interval.low for interval in intervals], float)  # None becomes NaN.
    high = np.array([interval.high for interval in intervals], float)
    axes.fill_between(samples, low, high, color=_LINE, alpha=0.15, linewidth=0, zorder=2)
    axes.vlines(samples, low, high, color=_LINE, alpha=0.4, linewidth=1.5, clip_on=False, zorder=2)


def _times_baseline(summary: EvaluationSummary) -> str:
    ratio = summary.headline.ratio_to_baseline
    return "" if ratio is None else f"\n{ratio:.2f}x baseline"


def _draw_baseline(axes: Axes, last: EvaluationSummary) -> None:
    """A dashed line; its label keeps off the right end of the curve and off the axis."""
    value = last.headline.baseline
    below = last.headline.value >= value > 0.1 * axes.get_ylim()[1]
    axes.axhline(value, color=QUIET, linewidth=1.2, linestyle=(0, (5, 3)))
    axes.annotate(
        f"baseline: the most frequent labels for every image, {value:.3f}",
        (0.99, value),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, -6 if below else 6),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        color=QUIET,
        size=10,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _label_profile(axes: Axes, ordered: Sequence[EvaluationSummary]) -> None:
    last = ordered[-1]
    has_band = any(summary.headline.interval.low is not None for summary in ordered)
    axes.set_title(
        f"Weighted MAP@{last.config.k} during training", loc="left", size=14, color=INK, pad=26
    )
    weights = str(last.config.weights.kind).replace("_", " ")
    axes.annotate(
        f"{last.counts.images:,} held-out images, {last.counts.classes:,} labels, "
        f"class weights: {weights}{'; band: 95% interval' if has_band else ''}",
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 10),
        textcoords="offset points",
        color=QUIET,
        size=10,
    )
    axes.set_xlabel("training images seen", size=11, color=INK)
    axes.set_ylabel(last.headline.name, size=11, color=INK)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))


def contact_sheet(samples: Sequence[Sample], path: Location) -> None:
    """Draws images with their labels and what was predicted for them, right ones marked.

    Of an image with more labels than there is room for, the telling ones are shown.

    Args:
        samples: 24 fill four rows; up to five predictions of each are shown.
        path: PNG to write, 1,800 pixels wide with six or more samples.

    Raises:
        EvaluationError: there is no sample.
    """
    _save(build_contact_sheet(samples), path)


def build_contact_sheet(samples: Sequence[Sample]) -> Figure:
    """The figure of `contact_sheet`."""
    if not samples:
        raise EvaluationError("contact sheet: no held-out images to draw")
    columns = min(_COLUMNS, len(samples))
    rows = -(-len(samples) // columns)
    lines = LABEL_LINES + 1 + max(len(sample.predictions) for sample in samples)
    row_height = PICTURE + (lines + 2.4) * LINE_HEIGHT
    width, height = max(columns, _FEWEST_COLUMNS) * CELL, rows * row_height + _HEADER
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    page = Page(figure, width, height)
    page.write(MARGIN, 0.2, "Held-out images: labels, then best predictions", size=13)
    page.write(MARGIN, 0.41, "✓ and green: the prediction is a label", color=QUIET)
    if any(page.label_lines(sample) is None for sample in samples):
        page.write(MARGIN, 0.58, _TELLING, color=QUIET)
    for place, sample in enumerate(samples):
        row, column = divmod(place, columns)
        page.draw(sample, column * CELL + MARGIN, row * row_height + _HEADER, lines)
    return figure


def _save(figure: Figure, path: Location) -> None:
    with replacing(path) as file:
        figure.savefig(file, format="png")
