"""Charts of differences: what they say, that their parts add up, that no two texts overlap."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from manylabel.deploy.dashboard.charts.differences import (
    ForestRow,
    LabelHistory,
    contribution_bar,
    forest,
    label_history,
    shares,
)
from manylabel.deploy.dashboard.charts.svg import HALF_TEXT, TEXT_SIZE, Chart, text_width
from manylabel.eval.statistics.differences import Difference

SVG = "{http://www.w3.org/2000/svg}"


def difference(value: float, reach: float | None = 0.001) -> Difference:
    if reach is None:
        return Difference(value, None, None, None, 1.0)
    return Difference(value, reach / 1.96, value - reach, value + reach, 0.01)


def drawn(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(chart.document())


def boxes(chart: Chart, size: float) -> list[tuple[float, float, float, float]]:
    """Left, top, right, bottom of each text at a size, by its widest system font."""
    found = []
    for text in drawn(chart).iter(f"{SVG}text"):
        width = text_width(text.text or "", size)
        shift = {"middle": width / 2, "end": width}.get(text.get("text-anchor", ""), 0.0)
        left, base = float(text.get("x", 0)) - shift, float(text.get("y", 0))
        found.append((left, base - 0.8 * size, left + width, base + 0.2 * size))
    return found


def overlapping(chart: Chart, size: float) -> int:
    texts = boxes(chart, size)
    return sum(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
        for place, a in enumerate(texts)
        for b in texts[place + 1 :]
    )


BANDS = [
    ForestRow("under 30", difference(0.0, None), False),
    ForestRow("30–99", difference(-0.0012, 0.0004), True, "10,327 labels"),
    ForestRow("1,000–2,999", difference(0.0002, 0.0009), False),
    ForestRow("3,000 and more", difference(0.0106, 0.002), True),
    ForestRow("all labels", difference(0.0096, 0.0022), True, total=True),
]
HISTORY = LabelHistory(
    "sky", "run-b", [(0, 0.1), (50, 0.42), (100, 0.4)], 100, (0.38, "run-a step 98,500"), 12
)
CHARTS = [
    forest("bands", "Where it comes from", BANDS),
    forest("one", "One", [ForestRow("class form", difference(0.0, 0.0), False)]),
    shares("shares", "Images", 5348, 4640, 4012),
    shares("nothing", "Images", 0, 0, 0),
    label_history("history", HISTORY),
    label_history("point", LabelHistory("sky", "b", [(100, 1.0)], 100, (1.0, "reference"), 1)),
    label_history("start", LabelHistory("sky", "b", [(0, 0.0)], 0, None, 1)),
]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
@pytest.mark.parametrize("size", [TEXT_SIZE, HALF_TEXT])
def test_no_two_texts_overlap_and_none_leaves_the_chart(chart, size):
    assert overlapping(chart, size) == 0
    for left, top, right, bottom in boxes(chart, size):
        assert left >= -0.5
        assert top >= -0.5
        assert right <= chart.frame.width + 0.5
        assert bottom <= chart.frame.height + 0.5


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_every_chart_has_a_title_and_a_description(chart):
    svg = drawn(chart)
    told = [svg.findall(f"{SVG}{name}") for name in ("title", "desc")]
    assert [each[0].get("id") for each in told] == svg.get("aria-labelledby", "").split()
    assert told[1][0].text


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_a_chart_has_no_style_attribute(chart):
    assert 'style="' not in chart.inline()


def test_a_mark_says_gain_loss_or_not_shown_by_shape_and_colour():
    marks = re.findall(r'<(circle|path) [^>]*class="mark (\w+)"', CHARTS[0].body)
    assert marks == [
        ("circle", "unshown"),
        ("circle", "loss"),
        ("circle", "unshown"),
        ("circle", "gain"),
        ("path", "gain"),
    ]


def test_a_row_without_an_interval_has_a_mark_alone():
    assert 'class="range' not in forest("a", "a", BANDS[:1]).body
    assert CHARTS[0].body.count('class="range') == len(BANDS) - 1


def test_a_forest_tells_each_interval_with_true_minus_signs():
    told = CHARTS[0].description
    assert "30–99: \N{MINUS SIGN}0.0012 (\N{MINUS SIGN}0.0016 to \N{MINUS SIGN}0.0008)" in told
    assert "1,000–2,999: +0.0002 (\N{MINUS SIGN}0.0007 to +0.0011), not shown" in told
    assert told.count("not shown") == 2


def test_an_interval_is_drawn_where_the_axis_says():
    """The zero line, an end of an interval and the ticks agree on one scale."""
    svg = drawn(CHARTS[0])
    zero = next(e for e in svg.iter(f"{SVG}line") if e.get("class") == "champion")
    ticks = {
        e.text or "": _number(e, "x")
        for e in svg.iter(f"{SVG}text")
        if e.get("class") == "tick" and e.get("text-anchor") == "middle"
    }
    assert ticks["0"] == pytest.approx(_number(zero, "x1"), abs=0.11)
    (low, x_low), *_, (high, x_high) = ticks.items()
    unit = (x_high - x_low) / (_value(high) - _value(low))
    ranges = [e for e in svg.iter(f"{SVG}line") if (e.get("class") or "").startswith("range")]
    loss = ranges[0]
    assert _number(loss, "x1") == pytest.approx(ticks["0"] - 0.0016 * unit, abs=0.3)
    assert _number(loss, "x2") == pytest.approx(ticks["0"] - 0.0008 * unit, abs=0.3)


def _value(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


def _number(element: ElementTree.Element, name: str) -> float:
    return float(element.get(name, "nan"))


def test_shares_are_as_wide_as_they_are_many():
    bars = [e for e in drawn(CHARTS[2]).iter(f"{SVG}rect") if e.get("class", "").startswith("bar")]
    total = 5348 + 4640 + 4012
    for bar, images in zip(bars, (5348, 4640, 4012), strict=True):
        assert _number(bar, "width") == pytest.approx(560 * images / total, abs=2.1)
    ends = [(_number(e, "x"), _number(e, "x") + _number(e, "width")) for e in bars]
    assert all(a[1] <= b[0] for a, b in pairwise(ends))


def test_shares_of_nothing_are_no_bar():
    assert "<rect" not in CHARTS[3].body
    assert "0 images better" in CHARTS[3].description


def test_a_bar_is_as_long_as_its_share_of_the_largest():
    width = re.compile(r'<rect [^>]*width="([\d.]+)"')
    assert [float(each) for each in width.findall(contribution_bar(-2.0, 4.0))] == [60]
    assert "loss" in contribution_bar(-2.0, 4.0)
    assert "gain" in contribution_bar(1e-9, 4.0)
    assert width.search(contribution_bar(0.0, 4.0)) is None
    assert width.search(contribution_bar(0.0, 0.0)) is None


def test_a_history_has_its_reference_and_its_candidate():
    history = CHARTS[4]
    assert history.body.count('class="mark gain"') == 1
    assert "run-a step 98,500 0.380" in history.body
    assert "0.400 at step 100" in history.description
    without = label_history("x", LabelHistory("sky", "run-b", HISTORY.points, None, None, 12))
    assert "champion" not in without.body
    assert "mark" not in without.body


def test_a_name_with_markup_is_text():
    row = ForestRow("<b>&", difference(0.1), True)
    assert drawn(forest("a", "<i>", [row])).find(f".//{SVG}b") is None
