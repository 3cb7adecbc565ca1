"""Pictures of results: the training profile and the contact sheet.

Figures are built without pyplot, so that drawing changes no global state and needs no display.
"""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, MaxNLocator
from PIL import Image

from manylabel.eval.errors import EvaluationError
from manylabel.eval.lettering import Ruler, families
from manylabel.eval.samples import Sample
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.storage.atomic import replacing
from manylabel.storage.locations import Location

_INK = "#1f2328"
_QUIET = "#656d76"
_RULE = "#d0d7de"
_LINE = "#0969da"
_RIGHT = "#1a7f37"

_DPI = 150
_PAD = 0.12
_COLUMNS = 6
_CELL = 2.0  # Inches from image to image; the picture is a README's width at half its size.
_PICTURE = 1.62  # Inches, side of the square an image is fitted into.
_LABEL_LINES = 2
_LINE_HEIGHT = 0.155
_TEXT_SIZE = 8.5  # Points.
_HEADER = 0.55


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
    return summary.dataset.content_digest, summary.settings


def _draw_profile(axes: Axes, ordered: Sequence[EvaluationSummary]) -> None:
    last = ordered[-1]
    samples = [summary.provenance.samples for summary in ordered]
    values = [summary.headline.value for summary in ordered]
    axes.set_xlim(0, max(*samples, 1))
    axes.set_ylim(0, 1.15 * max(*values, last.headline.baseline) or 1)
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
    _label_profile(axes, last)
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_QUIET, length=0, labelsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_RULE)


def _times_baseline(summary: EvaluationSummary) -> str:
    ratio = summary.headline.ratio_to_baseline
    return "" if ratio is None else f"\n{ratio:.2f}x baseline"


def _draw_baseline(axes: Axes, last: EvaluationSummary) -> None:
    """A dashed line; its label keeps off the right end of the curve and off the axis."""
    value = last.headline.baseline
    below = last.headline.value >= value > 0.1 * axes.get_ylim()[1]
    axes.axhline(value, color=_QUIET, linewidth=1.2, linestyle=(0, (5, 3)))
    axes.annotate(
        f"baseline: the most frequent labels for every image, {value:.3f}",
        (0.99, value),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, -6 if below else 6),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        color=_QUIET,
        size=10,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _label_profile(axes: Axes, last: EvaluationSummary) -> None:
    axes.set_title(
        f"Weighted MAP@{last.config.k} during training", loc="left", size=14, color=_INK, pad=26
    )
    weights = str(last.config.weights.kind).replace("_", " ")
    axes.annotate(
        f"{last.counts.images:,} held-out images, {last.counts.classes:,} labels, "
        f"class weights: {weights}",
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 10),
        textcoords="offset points",
        color=_QUIET,
        size=10,
    )
    axes.set_xlabel("training images seen", size=11, color=_INK)
    axes.set_ylabel(last.headline.name, size=11, color=_INK)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))


def contact_sheet(samples: Sequence[Sample], path: Location) -> None:
    """Draws images with their labels and what was predicted for them, right ones marked.

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
    predictions = max(len(sample.predictions) for sample in samples)
    row_height = _PICTURE + (_LABEL_LINES + predictions + 2.4) * _LINE_HEIGHT
    # One column alone would be too narrow for the title.
    width, height = max(columns, 3) * _CELL, rows * row_height + _HEADER
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    page = _Page(figure, width, height)
    page.write(_MARGIN, 0.2, "Held-out images: labels, then best predictions", size=13)
    page.write(_MARGIN, 0.4, "✓ and green: the prediction is a label", color=_QUIET)
    for place, sample in enumerate(samples):
        row, column = divmod(place, columns)
        page.draw(sample, column * _CELL + _MARGIN, row * row_height + _HEADER)
    return figure


_MARGIN = (_CELL - _PICTURE) / 2


class _Page:
    """Places things by inches from the top left corner."""

    def __init__(self, figure: Figure, width: float, height: float) -> None:
        self._figure, self._width, self._height = figure, width, height
        self._ruler = Ruler(figure, _TEXT_SIZE)

    def write(
        self,
        x: float,
        y: float,
        text: str,
        color: str = _INK,
        size: float = _TEXT_SIZE,
        align: str = "left",
    ) -> None:
        self._figure.text(
            x / self._width,
            1 - y / self._height,
            text,
            color=color,
            size=size,
            family=families(),
            ha=align,
            va="center",
            # A dollar sign in a label is a dollar sign.
            parse_math=False,
        )

    def draw(self, sample: Sample, x: float, y: float) -> None:
        self._draw_image(sample.encoded, x, y)
        y += _PICTURE + _LINE_HEIGHT
        for line, text in enumerate(self._ruler.fill_lines(sample.labels, _PICTURE, _LABEL_LINES)):
            self.write(x, y + line * _LINE_HEIGHT, text)
        y += (_LABEL_LINES + 0.4) * _LINE_HEIGHT
        for name, score in sample.predictions:
            right = name in sample.labels
            color = _RIGHT if right else _QUIET
            number = f"{score:.2f}"
            mark = "✓ " if right else ""
            room = _PICTURE - self._ruler.inches(f"{mark}  {number}")
            self.write(x, y, mark + self._ruler.shorten(name, room), color)
            self.write(x + _PICTURE, y, number, color, align="right")
            y += _LINE_HEIGHT

    def _draw_image(self, encoded: bytes, x: float, y: float) -> None:
        place = (
            x / self._width,
            1 - (y + _PICTURE) / self._height,
            _PICTURE / self._width,
            _PICTURE / self._height,
        )
        axes = self._figure.add_axes(place)
        with Image.open(io.BytesIO(encoded)) as image:
            axes.imshow(image.convert("RGB"), interpolation="antialiased")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(_RULE)


def _save(figure: Figure, path: Location) -> None:
    with replacing(path) as file:
        figure.savefig(file, format="png")
