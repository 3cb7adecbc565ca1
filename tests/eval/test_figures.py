"""The pictures: sizes, and that no text is cut, overlaps another or lacks a glyph."""

import io
import warnings
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from manylabel.eval.config import EvalConfig, MetricForm
from manylabel.eval.errors import EvaluationError
from manylabel.eval.figures import (
    build_contact_sheet,
    build_training_profile,
    contact_sheet,
    training_profile,
)
from manylabel.eval.samples import Sample, SampleLabel
from manylabel.eval.settings import settings_key
from manylabel.eval.store.summary import (
    DatasetReference,
    EvaluationSummary,
    Headline,
    Interval,
    ScoredCounts,
    Scores,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def evaluation(provenance):
    def make(samples, value, baseline=0.152, half_width=0.01, **changes):
        """half_width: of the interval; None for none."""

        def scores(value):
            return Scores(
                weighted_map_image=value,
                weighted_map_class=value,
                map_image=value,
                map_class=value,
                recall=value,
                precision={1: value},
            )

        interval = Interval(standard_error=None, low=None, high=None)
        if half_width is not None:
            interval = Interval(
                standard_error=half_width / 1.96, low=value - half_width, high=value + half_width
            )
        fields = {
            "provenance": provenance.model_copy(update={"samples": samples, "step": samples}),
            "dataset": DatasetReference(root="dataset", content_digest="0123"),
            "config": EvalConfig(),
            "counts": ScoredCounts(
                images=1044,
                images_without_labels=0,
                images_without_weight=0,
                labels=4000,
                classes=189,
                classes_with_images=180,
                near_duplicate_groups=900,
                parts=100,
            ),
            "scores": scores(value),
            "baseline": scores(baseline),
            "intervals": {form: interval for form in MetricForm},
        }
        fields |= changes
        config = fields["config"]
        terms = [fields[name] for name in ("scores", "baseline", "intervals")]
        return EvaluationSummary(
            **fields,
            headline=Headline.of(config.form, config.k, *terms),
            settings=settings_key(config, np.ones(1)),
        )

    return make


def jpeg(width=64, height=40) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    return file.getvalue()


def texts_drawn(figure):
    """(text, its box in pixels) of every visible text, also those of axes."""
    FigureCanvasAgg(figure).draw()
    beyond_the_axes = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if not axis.get_view_interval()[0] <= tick.get_loc() <= axis.get_view_interval()[1]
    }
    return [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in beyond_the_axes
    ]


def assert_readable(figure):
    texts = texts_drawn(figure)
    width, height = figure.bbox.size
    for text, box in texts:
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, text
    for (text, box), (other_text, other_box) in combinations(texts, 2):
        overlap_x = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
        overlap_y = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
        # Line boxes are taller than their letters; two pixels of them may meet.
        assert overlap_x <= 0 or overlap_y <= 2, (text, other_text)


@pytest.mark.parametrize("half_width", [None, 0.02, 0.5])
@pytest.mark.parametrize(
    ("values", "baseline"),
    [
        ([0.02, 0.11, 0.16, 0.2, 0.22], 0.152),
        ([0.151], 0.152),
        ([0.3, 0.1], 0.152),
        ([0.0, 0.9], 0.004),
        ([0.0], 0.0),
    ],
)
def test_the_profile_shows_values_ratio_and_baseline(evaluation, values, baseline, half_width):
    summaries = [evaluation(n * 32_000, v, baseline, half_width) for n, v in enumerate(values)]
    figure = build_training_profile(summaries[::-1])
    assert_readable(figure)
    shown = " | ".join(text for text, _ in texts_drawn(figure))
    assert "Weighted MAP@100 during training" in shown
    assert "training images seen" in shown
    assert "weighted MAP@100 (class form)" in shown
    assert f"{baseline:.3f}" in shown
    assert f"{values[-1]:.3f}" in shown
    assert (f"{values[-1] / baseline:.2f}x" in shown) if baseline else ("x baseline" not in shown)
    (curve,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    points = [[n * 32_000, value] for n, value in enumerate(values)]
    np.testing.assert_array_equal(curve.get_xydata(), points)


@pytest.mark.parametrize("last", [0.12, 0.151, 0.152, 0.153, 0.16, 0.9])
@pytest.mark.parametrize("first", [0.0, 0.15])
def test_no_label_lies_on_the_curve(evaluation, first, last):
    """All stand outside of the plot, also those of a curve that goes along the baseline."""
    values = [first, 0.15, 0.149, 0.153, last]
    figure = build_training_profile([evaluation(n, v) for n, v in enumerate(values)])
    assert_readable(figure)
    plot = figure.axes[0].get_window_extent()
    for text, box in texts_drawn(figure):
        assert not plot.overlaps(box.padded(-1)), text


def shown_of(evaluation, values):
    figure = build_training_profile([evaluation(n, v, 0.15) for n, v in enumerate(values)])
    shown = " | ".join(text for text, _ in texts_drawn(figure))
    return figure.axes[0].get_ylim(), "untrained network" in shown, shown


def test_the_untrained_network_does_not_squeeze_the_others(evaluation):
    (low, high), is_told, shown = shown_of(evaluation, [0.02, 0.17, 0.18, 0.19])
    assert 0.12 < low < 0.15
    assert high < 0.21
    assert is_told, "it lies below the axis, and its value is written"
    assert "untrained network, below: 0.020" in shown
    for untrained, trained in ((0.148, (0.17, 0.18, 0.19)), (0.13, (0.165, 0.18, 0.19))):
        (low, _), is_told, _ = shown_of(evaluation, [untrained, *trained])
        assert 0 < low < untrained
        assert not is_told


@pytest.mark.parametrize("values", [[0.02, 0.4, 0.5], [0.02], [0.3, 0.9]])
def test_the_axis_begins_at_0_where_that_leaves_half_of_it_to_the_others(evaluation, values):
    (low, _), is_told, _ = shown_of(evaluation, values)
    assert low == 0
    assert not is_told


def test_the_form_that_was_chosen_is_named(evaluation):
    config = EvalConfig(form="image")
    figure = build_training_profile([evaluation(1, 0.1, config=config)])
    assert figure.axes[0].get_ylabel() == "weighted MAP@100 (image form)"


def intervals_drawn(figure):
    """Corners of the band, and the lines through the values, each (x, low, high)."""
    band, lines = figure.axes[0].collections
    corners = [tuple(corner) for path in band.get_paths() for corner in path.vertices]
    through = [(line[0, 0], *line[:, 1]) for line in lines.get_segments() if len(line)]
    return corners, through


def test_the_intervals_are_a_band_around_the_curve(evaluation):
    widths = {0: 0.02, 10: 0.03, 20: None, 30: 0.01}
    summaries = [evaluation(n, 0.4 + n / 100, 0.1, width) for n, width in widths.items()]
    figure = build_training_profile(summaries)
    corners, through = intervals_drawn(figure)
    expected = [
        (n, 0.4 + n / 100 - width, 0.4 + n / 100 + width)
        for n, width in widths.items()
        if width is not None
    ]
    known = [line for line in through if np.isfinite(line).all()]
    np.testing.assert_allclose(known, expected)
    for n, low, high in expected[:2]:  # The last stands alone: a band needs two.
        for end in (low, high):
            assert any(np.allclose(corner, (n, end)) for corner in corners)
    assert figure.axes[0].get_ylim()[1] > max(high for *_, high in expected)
    shown = " | ".join(text for text, _ in texts_drawn(figure))
    assert "; band: 95% interval" in shown


def test_without_intervals_nothing_speaks_of_them(evaluation):
    figure = build_training_profile([evaluation(n, 0.4, half_width=None) for n in (0, 10)])
    assert "band" not in " | ".join(text for text, _ in texts_drawn(figure))
    corners, through = intervals_drawn(figure)
    assert not corners
    assert not any(np.isfinite(line).all() for line in through)


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": DatasetReference(root="dataset", content_digest="4567")},
        {"config": EvalConfig(k=50)},
        {"config": EvalConfig(form="image")},
        {"config": EvalConfig.model_validate({"weights": {"kind": "uniform"}})},
    ],
)
def test_evaluations_on_other_terms_are_not_drawn_together(evaluation, change):
    with pytest.raises(EvaluationError, match="steps 1 and 2 differ in dataset, metric or weights"):
        build_training_profile([evaluation(1, 0.1, **change), evaluation(2, 0.2)])


def test_a_moved_dataset_and_another_batch_size_are_the_same_terms(evaluation):
    moved = DatasetReference(root="s3://elsewhere", content_digest="0123")
    other = evaluation(1, 0.1, dataset=moved, config=EvalConfig(batch_size=1))
    assert build_training_profile([other, evaluation(2, 0.2)]).axes, "they are drawn"


HARD_NAMES = (
    "カメラ",
    "Ж long " * 30,
    "🎉 party",
    "a$b$c",
    "x" * 10_000,
    "été\nnew\tline",
    "W" * 40,
    "",
)


def sample(image_id, encoded, labels, predictions, others=(), k=100):
    """labels: names, or SampleLabels."""
    labels = [
        label if isinstance(label, SampleLabel) else SampleLabel(label, 10, place, place)
        for place, label in enumerate(labels, start=1)
    ]
    return Sample(image_id, encoded, tuple(labels), tuple(predictions), tuple(others), k)


@pytest.fixture
def samples():
    plain = [
        sample(str(n), jpeg(20 + 3 * n, 40), ("dog", "sky"), (("sky", 0.9), ("cat", 0.1)))
        for n in range(20)
    ]
    scores = (12.345, 0.5, -3.2, -1234.5, 0.0)
    predicted = tuple(zip(HARD_NAMES, scores, strict=False))
    others = [(name, 10**place) for place, name in enumerate(HARD_NAMES)]
    missed = [SampleLabel(name, 10**6, None, 1) for name in HARD_NAMES]
    hard = sample("hard", jpeg(300, 3), HARD_NAMES, predicted, others)
    back = sample("back", jpeg(3, 300), HARD_NAMES[::-1], ())
    none = sample("none", jpeg(), (), predicted)
    lost = sample("lost", jpeg(), missed, predicted, others, k=10_000)
    return [hard, back, none, lost, *plain]


def test_the_sheet_is_readable_with_any_label(samples):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a missing glyph
        figure = build_contact_sheet(samples)
        assert_readable(figure)
    labels = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert labels
    assert not any(text.get_parse_math() for text in labels)
    # Text stays below its own picture.
    cell = figure.bbox.width / 6
    for text, box in texts_drawn(figure):
        if box.y1 < figure.bbox.height - 0.75 * figure.dpi:
            assert box.x0 // cell == box.x1 // cell, text


def test_right_predictions_are_marked(samples):
    shown = [text for text, _ in texts_drawn(build_contact_sheet(samples[-1:]))]
    assert {"dog, sky", "✓ sky", "0.90", "cat", "0.10"} <= set(shown)
    assert not any("rarest" in text or "among" in text for text in shown)


def text_below(sample):
    """The lines below a picture that is alone on its sheet, a number after the name beside it."""
    figure = build_contact_sheet([sample])
    assert_readable(figure)
    shown = [text for text in figure.texts if text.get_text()]
    shown.sort(key=lambda text: (-text.get_position()[1], text.get_position()[0]))
    return [text.get_text() for text in shown[3:]]  # Below the title and the legend.


def test_of_many_labels_those_that_tell_the_picture_from_others_are_shown():
    """A root label and its parents are under every picture; a rare one that was found is not."""
    common = [SampleLabel(f"common {n}", 10**6 - n, n, n) for n in range(1, 36)]
    found = [SampleLabel(f"rare {n}", n, 90 - n, 12_000 - n) for n in range(1, 5)]
    missed = [SampleLabel("outdoors", 10**5, None, 40), SampleLabel("grass", 10**5, 97, 50)]
    unseen = [SampleLabel("as rare", 3, None, 15_000)]
    many = sample(
        "many", jpeg(), [*common, *found, *missed, *unseen], [("common 1", 0.99)] * 5,
        [("cat", 37), ("dog", 60)],
    )  # fmt: skip
    assert text_below(many) == [
        "40 of 42 labels",
        "among the best 100",
        *("✓ rare 1", "#89", "✓ rare 2", "#88", "✓ rare 3", "#87"),
        *("✗ outdoors", ">100", "✗ grass", "#97"),
        *("cat", "#37"),
    ]


def test_what_there_is_little_of_leaves_its_place_to_the_rest():
    names = [f"label number {n}" for n in range(9)]
    top = [("label number 0", 0.5)] * 5
    lost = [SampleLabel(name, 10, None, n + 1) for n, name in enumerate(names)]
    assert text_below(sample("lost", jpeg(), lost, top, [("cat", 1)])) == [
        "0 of 9 labels",
        "among the best 100",
        *[text for name in names[:5] for text in (f"✗ {name}", ">100")],
        *("cat", "#1"),
    ]
    few = sample("few", jpeg(), [f"{name} of few" for name in names[:3]], top, [("cat", 5)] * 5)
    assert text_below(few)[:2] == ["3 of 3 labels", "among the best 100"]
    assert text_below(few)[8:] == ["cat", "#5"] * 3
    all_found = sample("all", jpeg(), names, top)
    assert text_below(all_found)[2:] == [
        text for n, name in enumerate(names[:6]) for text in (f"✓ {name}", f"#{n + 1}")
    ]


def test_labels_are_shown_whole_where_they_fit():
    one = sample("a", jpeg(), ["x" * 300], ())
    (cut,) = [text for text, _ in texts_drawn(build_contact_sheet([one])) if text[:3] == "xxx"]
    assert cut.endswith("x…")
    two = sample("a", jpeg(), ["label number 0", "label number 1", "l"], ())
    shown = [text for text, _ in texts_drawn(build_contact_sheet([two]))]
    assert {"label number 0,", "label number 1, l"} <= set(shown)


def test_pictures_are_written_at_their_size(tmp_path, evaluation, samples):
    training_profile([evaluation(10, 0.1)], tmp_path / "profile.png")
    contact_sheet(samples, tmp_path / "sheets" / "sheet.png")
    with Image.open(tmp_path / "profile.png") as image:
        assert (image.format, image.size) == ("PNG", (1200, 675))
    with Image.open(tmp_path / "sheets" / "sheet.png") as image:
        assert (image.format, image.width) == ("PNG", 1800)


def test_nothing_to_draw_is_an_error(tmp_path):
    with pytest.raises(EvaluationError, match="no evaluations to draw"):
        training_profile([], tmp_path / "a.png")
    with pytest.raises(EvaluationError, match="no held-out images to draw"):
        contact_sheet([], tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
