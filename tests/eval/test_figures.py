"""The pictures: sizes, and that no text is cut, overlaps another or lacks a glyph."""

import io
import warnings
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from manylabel.eval.config import EvalConfig
from manylabel.eval.errors import EvaluationError
from manylabel.eval.figures import (
    build_contact_sheet,
    build_training_profile,
    contact_sheet,
    training_profile,
)
from manylabel.eval.samples import Sample
from manylabel.eval.settings import settings_key
from manylabel.eval.store.summary import (
    DatasetReference,
    EvaluationSummary,
    Headline,
    ScoredCounts,
    Scores,
)


@pytest.fixture
def evaluation(provenance):
    def make(samples, value, baseline=0.152, **changes):
        def scores(value):
            return Scores(
                weighted_map_image=value,
                weighted_map_class=value,
                map_image=value,
                map_class=value,
                recall=value,
                precision={1: value},
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
            ),
            "scores": scores(value),
            "baseline": scores(baseline),
        }
        fields |= changes
        terms = [fields[name] for name in ("config", "scores", "baseline")]
        return EvaluationSummary(
            **fields,
            headline=Headline.of(*terms),
            settings=settings_key(fields["config"], np.ones(1)),
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
def test_the_profile_shows_values_ratio_and_baseline(evaluation, values, baseline):
    summaries = [evaluation(n * 32_000, v, baseline) for n, v in enumerate(values)]
    figure = build_training_profile(summaries[::-1])
    assert_readable(figure)
    shown = " | ".join(text for text, _ in texts_drawn(figure))
    assert "Weighted MAP@100 during training" in shown
    assert "training images seen" in shown
    assert "weighted MAP@100 (image form)" in shown
    assert f"{baseline:.3f}" in shown
    assert f"{values[-1]:.3f}" in shown
    assert (f"{values[-1] / baseline:.2f}x" in shown) if baseline else ("x baseline" not in shown)
    (curve,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    points = [[n * 32_000, value] for n, value in enumerate(values)]
    np.testing.assert_array_equal(curve.get_xydata(), points)


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": DatasetReference(root="dataset", content_digest="4567")},
        {"config": EvalConfig(k=50)},
        {"config": EvalConfig(form="class")},
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


@pytest.fixture
def samples():
    plain = [
        Sample(str(n), jpeg(20 + 3 * n, 40), ("dog", "sky"), (("sky", 0.9), ("cat", 0.1)))
        for n in range(20)
    ]
    scores = (12.345, 0.5, -3.2, -1234.5, 0.0)
    hard = Sample("hard", jpeg(300, 3), HARD_NAMES, tuple(zip(HARD_NAMES, scores, strict=False)))
    back = Sample("back", jpeg(3, 300), HARD_NAMES[::-1], ())
    none = Sample("none", jpeg(), (), hard.predictions)
    return [hard, back, none, *plain]


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
        if box.y1 < figure.bbox.height - 0.55 * figure.dpi:
            assert box.x0 // cell == box.x1 // cell, text


def test_right_predictions_are_marked(samples):
    shown = [text for text, _ in texts_drawn(build_contact_sheet(samples[-1:]))]
    assert {"dog, sky", "✓ sky", "0.90", "cat", "0.10"} <= set(shown)


def test_labels_that_find_no_place_are_counted():
    names = tuple(f"label number {n}" for n in range(10))
    figure = build_contact_sheet([Sample("a", jpeg(), names, ())])
    first, second = [text for text, _ in texts_drawn(figure) if text.startswith("label number")]
    assert first == "label number 0,"
    assert second == "label number 1 +8"
    figure = build_contact_sheet([Sample("a", jpeg(), (names[0], "x" * 300, *names[2:]), ())])
    (cut,) = [text for text, _ in texts_drawn(figure) if text.startswith("xxx")]
    assert cut.endswith("x… +8")


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
