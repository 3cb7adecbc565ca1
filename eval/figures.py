"""Pictures of results: the training profile and the contact sheet.

Figures are built without pyplot, so that drawing changes no global state and needs no display.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, MaxNLocator
from matplotlib.transforms import Bbox, TransformedBbox

from manylabel.eval.axis import lower_end
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
_PLOT_HEIGHT = 220  # Of the profile, in points, more or less.
_APART = 22  # Points, of the middles of its labels: one of two lines, one of one.
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

    The untrained network shares the axis as long as it leaves half of it to the others; where it
    lies below, its value is written.

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
    axes.set_xlim(0, max(*samples, 1))
    axes.set_ylim(_ends(ordered))
    _draw_intervals(axes, ordered)
    axes.plot(samples, values, color=_LINE, linewidth=2, marker="o", zorder=3)
    # Markers at the sides are drawn whole; what lies below the axis is not drawn.
    inside = TransformedBbox(Bbox([[-0.05, 0], [1.05, 1.05]]), axes.transAxes)
    for artist in (*axes.collections, *axes.lines):
        artist.set_clip_path(None)
        artist.set_clip_box(inside)
    axes.axhline(last.headline.baseline, color=QUIET, linewidth=1.2, linestyle=(0, (5, 3)))
    _label_ends(axes, last)
    _label_profile(axes, ordered)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=QUIET, length=0, labelsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)


def _ends(ordered: Sequence[EvaluationSummary]) -> tuple[float, float]:
    """Of the axis: it begins at 0, or else at the untrained network, where that leaves half of it
    to the trained ones and the baseline."""
    trained = ordered[1:] if _untrained(ordered) and len(ordered) > 1 else ordered
    low = min(_low(summary) for summary in trained)
    high = max(summary.headline.interval.high or summary.headline.value for summary in trained)
    low, high = min(low, ordered[-1].headline.baseline), max(high, ordered[-1].headline.baseline)
    if high == low or lower_end(low, high, 0.0) == 0:
        return 0.0, 1.15 * high or 1.0
    low = lower_end(low, high, _low(ordered[0]))
    room = 0.15 * (high - low)
    return max(0.0, low - room), high + room


def _untrained(ordered: Sequence[EvaluationSummary]) -> EvaluationSummary | None:
    return ordered[0] if ordered[0].provenance.samples == 0 else None


def _low(summary: EvaluationSummary) -> float:
    low = summary.headline.interval.low
    return summary.headline.value if low is None else low


def _draw_intervals(axes: Axes, ordered: Sequence[EvaluationSummary]) -> None:
    """A band around the curve, and a line through each value, where there is an interval."""
    intervals = [summary.headline.interval for summary in ordered]
    samples = [summary.provenance.samples for summary in ordered]
    low = np.array([interval.low for interval in intervals], float)  # None becomes NaN.
    high = np.array([interval.high for interval in intervals], float)
    axes.fill_between(samples, low, high, color=_LINE, alpha=0.15, linewidth=0, zorder=2)
    axes.vlines(samples, low, high, color=_LINE, alpha=0.4, linewidth=1.5, zorder=2)


def _times_baseline(summary: EvaluationSummary) -> str:
    ratio = summary.headline.ratio_to_baseline
    return "" if ratio is None else f"\n{ratio:.2f}x baseline"


def _label_ends(axes: Axes, last: EvaluationSummary) -> None:
    """The last value and the baseline beside the plot, where they cover nothing, each at its height
    or as near to it as the other leaves room."""
    low, high = axes.get_ylim()
    value, baseline = last.headline.value, last.headline.baseline
    points = _PLOT_HEIGHT / (high - low)
    apart = (baseline - value) * points
    if abs(apart) < _APART:
        is_above = baseline > value or (value - low) * points < _APART
        apart = _APART if is_above else -_APART
    for text, points_above, color, size, weight in (
        (f"{value:.3f}{_times_baseline(last)}", 0.0, _LINE, 11, "bold"),
        (f"{baseline:.3f} baseline", apart, QUIET, 10, "normal"),
    ):
        axes.annotate(
            text,
            (1, value),
            xycoords=axes.get_yaxis_transform(),
            xytext=(10, points_above),
            textcoords="offset points",
            va="center",
            color=color,
            size=size,
            weight=weight,
            annotation_clip=False,
        )


def _label_profile(axes: Axes, ordered: Sequence[EvaluationSummary]) -> None:
    last = ordered[-1]
    has_band = any(summary.headline.interval.low is not None for summary in ordered)
    axes.set_title(
        f"Weighted MAP@{last.config.k} during training", loc="left", size=14, color=INK, pad=42
    )
    weights = str(last.config.weights.kind).replace("_", " ")
    told = [
        f"{last.counts.images:,} held-out images, {last.counts.classes:,} labels, "
        f"class weights: {weights}{'; band: 95% interval' if has_band else ''}",
        "dashed baseline: the most frequent labels for every image",
    ]
    first = _untrained(ordered)
    if first is not None and first.headline.value < axes.get_ylim()[0]:
        told[1] += f"; untrained network, below: {first.headline.value:.3f}"
    axes.annotate(
        "\n".join(told),
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
