"""The parts of charts: escaping, scales, ticks that fit, labels that keep apart."""

import math
import random
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.charts import svg
from manylabel.deploy.dashboard.charts.axes import tick_texts
from manylabel.deploy.dashboard.charts.scales import Scale, round_values, spread
from manylabel.deploy.dashboard.charts.svg import Chart, Frame


def test_text_and_attributes_cannot_leave_their_place():
    made = svg.element("text", svg.text_of('<script>"&'), class_='a" onload="x', x=1.25)
    root = ElementTree.fromstring(made)
    assert root.text == '<script>"&'
    assert root.attrib == {"class": 'a" onload="x', "x": "1.2"}


def test_a_line_of_steps_ends_where_its_points_do():
    rng = random.Random(1)
    points = [(rng.uniform(0, 500), rng.uniform(0, 300)) for _ in range(300)]
    d = ElementTree.fromstring(svg.polyline(points, "line")).attrib["d"]
    start, _, steps = d.partition("l")
    x, y = map(float, start[1:].split())
    numbers = [float(number) for number in re.findall(r"-?\d*\.?\d+", steps)]
    assert len(numbers) == 2 * 299
    for place, (dx, dy) in enumerate(zip(numbers[::2], numbers[1::2], strict=True), start=1):
        x, y = x + dx, y + dy
        assert (x, y) == pytest.approx(points[place], abs=0.06)


def test_a_chart_is_told_in_words_and_brings_its_colours_as_a_file():
    chart = Chart("map", "Weighted MAP & more", "From 0.1 to 0.2.", Frame(svg.HALF, 100), "")
    inline = ElementTree.fromstring(chart.inline())
    assert inline.attrib["role"] == "img"
    ids = inline.attrib["aria-labelledby"].split()
    told = {child.attrib["id"]: child.text for child in inline}
    assert [told[each] for each in ids] == ["Weighted MAP & more", "From 0.1 to 0.2."]
    assert "style" not in inline.attrib
    whole = ElementTree.fromstring(chart.document())
    assert (whole.findtext("{*}style") or "").count("--gain") > 1


@pytest.mark.parametrize("most", range(2, 9))
def test_round_values_are_round_few_and_inside(most):
    rng = random.Random(most)
    for _ in range(300):
        size = 10 ** rng.randint(-4, 6)
        low = rng.uniform(-100, 100) * size
        high = low + rng.uniform(0.1, 10) * size
        ticks = round_values(low, high, most)
        assert 1 <= len(ticks) <= most
        width = (high - low) * 1e-9
        assert all(low - width <= tick <= high + width for tick in ticks)
        if len(ticks) > 1:
            step = ticks[1] - ticks[0]
            mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
            assert min(abs(mantissa - each) for each in (1, 2, 5, 10)) < 1e-6


def test_logarithmic_ticks_are_powers_or_halves_of_the_way():
    assert Scale(1, 17_000, 0, 100, True).ticks(5) == [1, 10, 100, 1_000, 10_000]
    assert Scale(0.018, 0.35, 0, 100, True).ticks(9) == pytest.approx([0.02, 0.05, 0.1, 0.2])
    assert len(Scale(1e-6, 1e6, 0, 100, True).ticks(4)) <= 4
    assert Scale(0.024, 0.05, 0, 100, True).ticks(4) == pytest.approx([0.03, 0.04, 0.05])


@pytest.mark.parametrize(
    ("ticks", "form", "texts"),
    [
        ((0, 0.1, 0.2), formats.map_value, ["0", "0.1", "0.2"]),
        ((-0.1, 0, 0.05), formats.difference, ["−0.10", "0", "+0.05"]),
        ((0.2, 0.25), formats.map_value, ["0.20", "0.25"]),
        ((1, 2), formats.map_value, ["1", "2"]),
        ((2e-4, 5e-4, 1e-3), formats.measure, ["2e−4", "5e−4", "1e−3"]),
        ((0, 5e6, 12.5e6), formats.samples_tick, ["0", "5 M", "12.5 M"]),
        ((1_000, 1_500), formats.count, ["1,000", "1,500"]),
        ((10, 20), formats.count, ["10", "20"]),
    ],
)
def test_an_axis_has_one_notation(ticks, form, texts):
    assert tick_texts(ticks, form) == texts


def test_scales_map_ends_to_ends():
    scale = Frame(100, 50, left=10, right=10, top=5, bottom=5).y_scale(1, 100, logarithmic=True)
    assert (scale(1), scale(10), scale(100)) == pytest.approx((45, 25, 5))
    assert Scale(3, 3, 0, 10)(3) == 5


def test_labels_keep_apart_and_in_order():
    rng = random.Random(4)
    for _ in range(200):
        wanted = [rng.uniform(0, 100) for _ in range(rng.randint(1, 7))]
        placed = spread(wanted, 12, 0, 100)
        order = sorted(range(len(wanted)), key=wanted.__getitem__)
        down = [placed[index] for index in order]
        assert all(b - a >= 12 - 1e-9 for a, b in pairwise(down))
        assert down[0] >= 0
        assert down[-1] <= 100
    assert spread([10.0, 90.0], 12, 0, 100) == [10.0, 90.0]


def test_text_is_cut_where_it_does_not_fit():
    assert svg.text_fitting("short", 100) == "short"
    cut = svg.text_fitting("a very long name of a label", 60)
    assert cut.endswith("…")
    assert svg.text_width(cut) <= 60
