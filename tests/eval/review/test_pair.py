"""Which evaluations are held against each other, and what is said of those that cannot be."""

import datetime

import pytest

from manylabel.eval.errors import EvaluationError
from manylabel.eval.review.build import build_review
from manylabel.eval.review.pair import NotComparable, choose_pair
from manylabel.eval.store.evaluations import evaluation_directory, read_summaries

LATER = datetime.datetime(2026, 1, 3, tzinfo=datetime.UTC)
UNIFORM = {"kind": "uniform"}


def chosen(runs, one, other, settings=None):
    pair = choose_pair((runs.root / one[0], one[1]), (runs.root / other[0], other[1]), settings)
    return pair.candidate, pair.reference


def test_without_a_step_the_newest_that_was_evaluated(runs):
    for step in (20, 100, 30):
        runs.add("a", step)
        runs.add("b", step + 1)
    names = [each.name for each in chosen(runs, ("a", None), ("b", 21))]
    assert list(map(str, names)) == ["a@100", "b@21"]


def test_of_several_settings_the_newest_that_both_have(runs):
    runs.add("a", 10)
    runs.add("a", 10, at=LATER, weights=UNIFORM)
    runs.add("b", 10)
    candidate, _ = chosen(runs, ("a", 10), ("b", 10))
    assert candidate.summary.config.weights.kind == "training_share"
    runs.add("b", 10, weights=UNIFORM)
    for settings, kind in (
        (None, "uniform"),
        ("training", "training_share"),
        (candidate.summary.settings, "training_share"),
    ):
        for each in chosen(runs, ("a", 10), ("b", 10), settings):
            assert each.summary.config.weights.kind == kind
    with pytest.raises(EvaluationError, match=r"with settings csv.*found none; run `manylabel eva"):
        chosen(runs, ("a", 10), ("b", 10), "csv")


def test_which_form_was_the_headline_is_no_difference(runs):
    two = runs.add("a", 10, form="image"), runs.add("b", 10, form="class")
    assert build_review(runs.root, *two).review.form == "image"


def test_what_there_is_not_is_told_with_the_command_that_makes_it(runs):
    runs.add("a", 10)
    runs.add("a", 30)
    (runs.root / "empty").mkdir()
    a = runs.root / "a"
    for place, message in (
        (("a", 20), rf"{a}: expected an evaluation of step 20, found those of 10, 30; run "),
        (("a", 20), rf"`manylabel evaluate {a} --step 20`"),
        (("empty", None), r"found none; run `manylabel evaluate .*empty`"),
        (("nobody", None), "nobody: expected the directory of a run, found none"),
    ):
        with pytest.raises(EvaluationError, match=message):
            chosen(runs, ("a", 10), place)


def test_a_summary_that_cannot_be_read_is_named(runs):
    two = runs.add("a", 10), runs.add("b", 10)
    (summary,) = read_summaries(runs.root / "b", print)
    path = evaluation_directory(runs.root / "b", 10, summary.settings) / "summary.json"
    path.write_text(path.read_text()[:200])
    with pytest.raises(EvaluationError) as caught:
        build_review(runs.root, *two)
    assert str(path) in str(caught.value)
    assert f"run `manylabel evaluate {runs.root / 'b'} --step 10`" in str(caught.value)
    # It hides no other one.
    runs.add("b", 20)
    assert build_review(runs.root, two[0], two[1]._replace(step=20)).review.reference.step == 20


def test_other_held_out_images_are_not_comparable(runs, make_dataset):
    other = make_dataset({f"{row:03}.jpg": [0] for row in range(120)}, [3] * 14)
    two = runs.add("a", 10), runs.add("b", 10, on=other)
    with pytest.raises(NotComparable) as caught:
        build_review(runs.root, *two)
    text = str(caught.value)
    assert "a@10 and b@10 are not comparable: their held-out images differ" in text
    for dataset in (runs.dataset, other):
        assert dataset.content_digest[:12] in text
    assert "`manylabel score`" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("settings", "told", "repair"),
    [
        ({"k": 5}, "k 6 and 5", "--set eval.k=5"),
        (
            {"k": 3, "weights": UNIFORM},
            "k 6 and 3, weights.kind training_share and uniform",
            "--set eval.k=3 --set eval.weights.kind=uniform",
        ),
        ({"precision_at": [1, 2]}, "precision_at [1] and [1, 2]", "'eval.precision_at=[1, 2]'"),
    ],
)
def test_other_settings_are_not_comparable(runs, settings, told, repair):
    two = runs.add("a", 10), runs.add("b", 10, **settings)
    with pytest.raises(NotComparable) as caught:
        build_review(runs.root, *two)
    text = str(caught.value)
    assert f"their settings differ ({told}); evaluate one as the other: " in text
    assert f"`manylabel evaluate {runs.root / 'a'} --step 10 " in text
    assert repair in text


def test_a_table_of_weights_counts_by_its_values(runs, tmp_path):
    table = tmp_path / "weights.csv"
    weights = {"kind": "csv", "csv": str(table), "missing": 1}
    table.write_text("label,weight\nlabel 0,2\n")
    one = runs.add("a", 10, weights=weights)
    copy = table.with_name("copy.csv")
    copy.write_text(table.read_text())
    other = runs.add("b", 10, weights=weights | {"csv": str(copy)})
    assert build_review(runs.root, one, other).review.looked_at == 1
    table.write_text("label,weight\nlabel 0,3\n")
    other = runs.add("c", 10, weights=weights)
    with pytest.raises(NotComparable, match=r"weights\.csv .*weights\.csv as it was and .*weights"):
        build_review(runs.root, one, other)
