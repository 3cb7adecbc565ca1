"""The page that the contact sheet is drawn on: pictures, and the text below each."""

import io
from dataclasses import dataclass

from matplotlib.figure import Figure
from PIL import Image

from manylabel.eval.lettering import Ruler, families
from manylabel.eval.samples import Sample

CELL = 2.0
"""Inches from picture to picture; six are a README's width at half its size."""
PICTURE = 1.62
"""Inches, side of the square that a picture is fitted into."""
MARGIN = (CELL - PICTURE) / 2
LABEL_LINES = 2
LINE_HEIGHT = 0.155

INK = "#1f2328"
QUIET = "#656d76"
RULE = "#d0d7de"
RIGHT = "#1a7f37"
MISSED = "#bc4c00"

_TEXT_SIZE = 8.5  # Points.
_MISSED_LINES = 2
_OTHER_LINES = 1


@dataclass(frozen=True)
class Line:
    """A line of text below a picture: a name, cut where it is too long, and a number."""

    mark: str
    name: str
    number: str
    color: str


class Page:
    """Places things by inches from the top left corner."""

    def __init__(self, figure: Figure, width: float, height: float) -> None:
        self._figure, self._width, self._height = figure, width, height
        self._ruler = Ruler(figure, _TEXT_SIZE)

    def write(
        self,
        x: float,
        y: float,
        text: str,
        color: str = INK,
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

    def label_lines(self, sample: Sample) -> list[str] | None:
        """All labels of an image; None where they are too many for their place."""
        names = [label.name for label in sample.labels]
        return self._ruler.fill_lines(names, PICTURE, LABEL_LINES)

    def draw(self, sample: Sample, x: float, y: float, lines: int) -> None:
        """A picture, and at most `lines` lines of text below it."""
        self._draw_picture(sample.encoded, x, y)
        y += PICTURE + LINE_HEIGHT
        labels = self.label_lines(sample)
        if labels is None:
            found = sum(label.rank is not None for label in sample.labels)
            labels = [f"{found} of {len(sample.labels)} labels", f"among the best {sample.k}"]
            below = telling_lines(sample, lines - LABEL_LINES)
        else:
            below = prediction_lines(sample)
        for place, text in enumerate(labels):
            self.write(x, y + place * LINE_HEIGHT, text)
        self._draw_lines(below, x, y + (LABEL_LINES + 0.4) * LINE_HEIGHT)

    def _draw_lines(self, lines: list[Line], x: float, y: float) -> None:
        for line in lines:
            room = PICTURE - self._ruler.inches(f"{line.mark}  {line.number}")
            self.write(x, y, line.mark + self._ruler.shorten(line.name, room), line.color)
            self.write(x + PICTURE, y, line.number, line.color, align="right")
            y += LINE_HEIGHT

    def _draw_picture(self, encoded: bytes, x: float, y: float) -> None:
        place = (
            x / self._width,
            1 - (y + PICTURE) / self._height,
            PICTURE / self._width,
            PICTURE / self._height,
        )
        axes = self._figure.add_axes(place)
        with Image.open(io.BytesIO(encoded)) as image:
            axes.imshow(image.convert("RGB"), interpolation="antialiased")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(RULE)


def prediction_lines(sample: Sample) -> list[Line]:
    """The best predictions with their probabilities."""
    names = {label.name for label in sample.labels}
    return [
        Line("✓ ", name, f"{score:.2f}", RIGHT)
        if name in names
        else Line("", name, f"{score:.2f}", QUIET)
        for name, score in sample.predictions
    ]


def telling_lines(sample: Sample, lines: int) -> list[Line]:
    """Of many labels those that tell the picture from others, with their ranks."""
    found, missed, others = sample.found, sample.missed, sample.others
    others = others[: max(_OTHER_LINES, lines - len(found) - len(missed))]
    missed = missed[: max(_MISSED_LINES, lines - len(found) - len(others))]
    found = found[: max(0, lines - len(missed) - len(others))]
    return [
        *(Line("✓ ", label.name, f"#{label.rank}", RIGHT) for label in found),
        *(Line("✗ ", label.name, _rank(label.rank, sample.k), MISSED) for label in missed),
        *(Line("", name, f"#{rank}", QUIET) for name, rank in others),
    ][:lines]


def _rank(rank: int | None, k: int) -> str:
    return f">{k}" if rank is None else f"#{rank}"
