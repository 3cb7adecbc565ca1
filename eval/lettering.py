"""Text of any script in figures: characters that the fonts have, no wider than its place."""

import unicodedata
from collections.abc import Sequence
from functools import cache

from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# The first comes with matplotlib; the others widen the alphabet where they are installed.
_FAMILIES = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Micro Hei",
    "Arial Unicode MS",
    "Noto Emoji",
    "Symbola",
)
_NO_GLYPH = "□"
_ELLIPSIS = "…"
# Far more than any place holds; keeps measuring cheap for labels of thousands of characters.
_LONGEST = 200


@cache
def families() -> tuple[str, ...]:
    """The installed font families, in order of preference; text falls back along them."""
    installed = set(font_manager.fontManager.get_font_names())
    return tuple(name for name in _FAMILIES if name in installed)


@cache
def _characters() -> frozenset[int]:
    paths = (
        font_manager.findfont(font_manager.FontProperties(family=[name])) for name in families()
    )
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in paths))


def printable(text: str) -> str:
    """Composed (NFC), on one line; each run of characters without a glyph becomes one square."""
    shown: list[str] = []
    for character in unicodedata.normalize("NFC", text[:_LONGEST]):
        if character.isspace() or unicodedata.category(character) in ("Cc", "Cf"):
            character = " "
        elif ord(character) not in _characters():
            character = _NO_GLYPH
        if not shown or character not in (" ", _NO_GLYPH) or shown[-1] != character:
            shown.append(character)
    return "".join(shown).strip()


class Ruler:
    """Measures text as a figure will draw it."""

    def __init__(self, figure: Figure, size: float) -> None:
        """Takes the figure, whose resolution counts, and the font size in points."""
        self._renderer = FigureCanvasAgg(figure).get_renderer()
        # One invisible text is measured again and again; it stays empty in the picture.
        self._text = figure.text(0, 0, "", size=size, family=families(), parse_math=False)
        self._inch = figure.dpi

    def inches(self, text: str) -> float:
        """Width of `text`."""
        self._text.set_text(text)
        width = self._text.get_window_extent(self._renderer).width / self._inch
        self._text.set_text("")
        return float(width)

    def shorten(self, text: str, inches: float) -> str:
        """`printable(text)`, cut behind an ellipsis where it is wider than `inches`."""
        whole = printable(text)
        if len(text) <= _LONGEST and self.inches(whole) <= inches:
            return whole
        fits, too_long = 0, len(whole)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            if self.inches(whole[:middle].rstrip() + _ELLIPSIS) <= inches:
                fits = middle
            else:
                too_long = middle
        return whole[:fits].rstrip() + _ELLIPSIS

    def fill_lines(self, words: Sequence[str], inches: float, lines: int) -> list[str] | None:
        """Words with commas between them on at most `lines` lines; None where they do not fit.

        A word that is too long for a line of its own is cut.
        """
        filled = [""]
        for word in words:
            longer = f"{filled[-1]}, {printable(word)}" if filled[-1] else printable(word)
            if self.inches(longer) <= inches:
                filled[-1] = longer
                continue
            if filled[-1]:
                filled[-1] += ","
                filled.append("")
            if len(filled) > lines:
                return None
            filled[-1] = self.shorten(word, inches)
        return filled
