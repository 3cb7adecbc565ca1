"""Charts of runs: what they tell, and that no text covers another, whatever the numbers."""

import itertools
import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import numpy as np
import pytest

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.charts import svg
from manylabel.deploy.dashboard.charts.counts import frequency_chart, histogram, reasons_chart
from manylabel.deploy.dashboard.charts.forest import Forest, Mark
from manylabel.deploy.dashboard.charts.lines import difference_chart, map_chart
from manylabel.deploy.dashboard.charts.points import Points
from manylabel.deploy.dashboard.charts.training import band_chart, training_chart

MINUS = "−"
NAMESPACE = "{http://www.w3.org/2000/svg}"


def texts(chart):
    """(left, top, right, bottom, text) of each text, at the largest size that it is shown in."""
    size = chart.frame.text_size
    boxes = []
    for node in ElementTree.fromstring(chart.inline()).iter(f"{NAMESPACE}text"):
        text = node.text or ""
        width = svg.text_width(text, size)
        x, y = float(node.attrib["x"]), float(node.attrib["y"])
        left = x - width * {"middle": 0.5, "end": 1.0}.get(node.attrib.get("text-anchor", ""), 0.0)
        boxes.append((left, y - size * 0.8, left + width, y + size * 0.2, text))
    return boxes


def check_layout(chart):
    boxes = texts(chart)
    assert boxes
    for a, b in combinations(boxes, 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, (chart.name, a, b)
    for left, top, right, bottom, text in boxes:
        assert left >= -1, (chart.name, text)
        assert top >= -1, (chart.name, text)
        assert right <= chart.frame.width + 1, (chart.name, text)
        assert bottom <= chart.frame.height + 1, (chart.name, text)


def random_points(seed, number=None):
    rng = np.random.default_rng(seed)
    number = number or int(rng.integers(1, 201))
    samples = np.cumsum(rng.integers(1, 10 ** rng.integers(1, 9), number))
    scale = 10.0 ** rng.integers(-3, 0)
    values = np.cumsum(rng.normal(0, scale / 10, number)) + rng.normal(0, scale)
    width = np.abs(rng.normal(scale / 10, scale / 30, number))
    return Points(samples, values, values - width, values + width), rng


@pytest.mark.parametrize("seed", range(60))
def test_no_text_of_a_chart_covers_another(seed):
    points, rng = random_points(seed)
    number = len(points.samples)
    promoted = sorted(set(rng.integers(0, number, 2).tolist()))
    check_layout(difference_chart(points, promoted, f"a-run-{'x' * int(rng.integers(0, 60))}@9"))
    worth = Points(
        points.samples, *(np.abs(each) for each in (points.values, points.low, points.high))
    )
    champion = float(rng.uniform(0, 1)) if seed % 2 else None
    chosen = rng.random(number) < 0.4
    check_layout(map_chart(worth, float(rng.uniform(0, 1)), chosen, promoted, champion))
    check_layout(band_chart("b", "Band", worth, 0.1, float(worth.values.max()) + 0.01))
    also = worth.values * 3 + 1
    if number > 1:
        check_layout(training_chart("t", "T", worth, also=also, names=("mean", "largest")))
        check_layout(training_chart("t", "T", worth, logarithmic=True))
    check_layout(frequency_chart(rng.zipf(1.3, int(rng.integers(1, 20_000))).clip(0, 10**8)))
    check_layout(histogram("h", "H", rng.poisson(rng.uniform(0, 90), 500), "labels"))
    reasons = [(f"reason {'y' * int(rng.integers(0, 40))}", int(10 ** rng.uniform(0, 8)))] * 4
    check_layout(reasons_chart(reasons))


def test_a_difference_shows_the_interval_and_says_it_in_words():
    points = Points(
        np.array([100, 200, 300]),
        np.array([-0.01, 0.002, 0.0096]),
        np.array([-0.013, -0.001, 0.0065]),
        np.array([-0.007, 0.005, 0.0127]),
    )
    chart = difference_chart(points, [1], "run-a@98500")
    assert "+0.0096, 95% interval +0.0065 to +0.0127" in chart.description
    root = ElementTree.fromstring(chart.inline())
    classes = [node.attrib.get("class") for node in root.iter()]
    assert classes.count("dots gain") == classes.count("dots loss") == 1
    assert classes.count("dots unshown") == classes.count("dots inner") == 1
    assert classes.count("promoted") == 1
    assert "champion run-a@98500" in [text for *_, text in texts(chart)]


def test_early_differences_do_not_flatten_the_last_ones():
    """A difference of 0.005 beside one of 0.3 at the start of training: seen, not invisible."""
    values = np.array([-0.3, -0.1, 0.0, 0.005])
    points = Points(np.array([1, 2, 3, 4]) * 1000, values, values - 0.003, values + 0.003)
    chart = difference_chart(points, [], "a@1")
    root = ElementTree.fromstring(chart.inline())
    zero = float(next(n for n in root.iter() if n.get("class") == "champion").attrib["y1"])
    ticks = {text: (top + bottom) / 2 for _, top, _, bottom, text in texts(chart)}
    assert "2 earlier evaluations below" in ticks
    assert abs(zero - chart.frame.top) > chart.frame.height / 10
    assert f"{MINUS}0.3000" not in ticks


def of_map(values, baseline, champion=None):
    """The chart of evaluations, the first of the untrained network; and its texts with boxes."""
    values = np.array(values)
    samples = np.arange(len(values)) * 1000
    points = Points(samples, values, values - 0.002, values + 0.002)
    chart = map_chart(points, baseline, np.zeros(len(values), bool), [], champion)
    return chart, {text: box for *box, text in texts(chart)}


def curve_of(chart):
    """Points of the curve, close to each other."""
    path = next(
        node.attrib["d"]
        for node in ElementTree.fromstring(chart.inline()).iter(f"{NAMESPACE}path")
        if node.attrib.get("class") == "line"
    )
    numbers = re.findall(r"-?(?:\d+\.?\d*|\.\d+)", path)  # Of a start, and steps from there.
    corners = np.cumsum(np.array(numbers, float).reshape(-1, 2), axis=0)
    shares = np.linspace(0, 1, 200)[:, None]
    return np.concatenate([a + shares * (b - a) for a, b in itertools.pairwise(corners)])


@pytest.mark.parametrize(
    "values",
    [
        [0.004, 0.171, 0.176, 0.181],
        [0.02, 0.10, 0.145, 0.158],  # ends just above the baseline, where the label stood
        [0.158, 0.156, 0.154, 0.153],
        [0.14, 0.17, 0.16, 0.15, 0.2],
        [0.151, 0.1525, 0.1515, 0.1535],
    ],
)
@pytest.mark.parametrize("champion", [None, 0.155, 0.152])
def test_no_name_of_a_level_lies_on_the_curve(values, champion):
    chart, boxes = of_map(values, 0.152, champion)
    check_layout(chart)
    curve = curve_of(chart)
    named = [text for text in boxes if text[:9] in ("frequency", "champion", "untrained")]
    assert len(named) == 1 + (champion is not None) + (values[0] < 0.1)
    for text in named:
        left, top, right, bottom = boxes[text]
        inside = (curve > (left, top)) & (curve < (right, bottom))
        assert not inside.all(axis=1).any(), text


def test_the_untrained_network_does_not_squeeze_the_evaluations_after_it():
    chart, boxes = of_map([0.004, 0.171, 0.176, 0.181], 0.152)
    assert "untrained 0.0040, below" in boxes
    assert "From 0.0040 to" in chart.description
    heights = curve_of(chart)[200:, 1]
    assert np.ptp(heights) > 0.2 * (chart.frame.plot_bottom - chart.frame.top)
    _, boxes = of_map([0.15, 0.171, 0.176, 0.181], 0.152)
    assert not any("untrained" in text for text in boxes)


def test_gaps_in_the_plateau_are_not_drawn_over():
    points, _ = random_points(3, 6)
    chosen = np.array([True, False, True, True, False, True])
    chart = map_chart(points, 0.1, chosen, [], None)
    thick = [
        node.attrib["d"]
        for node in ElementTree.fromstring(chart.inline()).iter()
        if node.attrib.get("class") == "line thick"
    ]
    assert len(thick) == 3
    assert "3 evaluations" not in chart.description
    assert f"{chosen.sum()} cannot be told from the best" in chart.description


def test_marks_are_told_by_shape_and_colour():
    marks = [Mark(0.01, 0.005, 0.015), Mark(-0.01, -0.02, -0.001), Mark(0.001, -0.001, 0.003)]
    forest = Forest.of(marks)
    assert [mark.css for mark in marks] == ["gain", "loss", "unshown"]
    assert Mark(0.1, None, None).css == "unshown"
    drawn = [ElementTree.fromstring(forest.mark(mark)) for mark in marks]
    middles = [float(next(each.iter("circle")).attrib["cx"]) for each in drawn]
    assert middles[1] < middles[2] < middles[0]
    zero = float(next(drawn[0].iter("line")).attrib["x1"])
    sides = [(True, False), (False, True), (False, False)]
    for root, (right, left) in zip(drawn, sides, strict=True):
        ends = [float(list(root.iter("line"))[1].attrib[name]) for name in ("x1", "x2")]
        assert (ends[0] > zero) == right
        assert (ends[1] < zero) == left


def test_a_run_far_behind_becomes_an_arrow_and_presses_none_together():
    near, far = Mark(0.004, 0.001, 0.007), Mark(-0.3, -0.303, -0.297)
    forest = Forest.of([near, far])
    assert ElementTree.fromstring(forest.mark(far)).find("path") is not None
    line = list(ElementTree.fromstring(forest.mark(near)).iter("line"))[1]
    assert float(line.attrib["x2"]) - float(line.attrib["x1"]) > 15


def test_a_histogram_counts_every_image():
    values = np.array([1, 1, 2, 36, 36, 36])
    chart = histogram("labels", "Labels", values, "labels")
    assert "Mean 18.7, median 19, largest 36." in chart.description


def test_a_learning_rate_of_zero_has_no_logarithm():
    samples = np.array([1, 2, 3])
    chart = training_chart(
        "rate", "Rate", Points(samples, np.array([0.1, 0.01, 0.0])), logarithmic=True
    )
    assert chart is not None
    assert "to 0," in chart.description
    assert formats.NOTHING not in chart.description


def test_one_value_of_training_is_no_line():
    one = Points(np.array([1, 2, 3]), np.array([np.nan, 0.3, np.nan]))
    assert training_chart("loss", "Loss", one) is None
