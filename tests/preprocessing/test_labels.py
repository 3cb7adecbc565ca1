"""Label names, confidences and the vocabulary."""

import pytest

from manylabel.preprocessing.labels import (
    LabelCount,
    build_vocabulary,
    merge_labels,
    normalise_label,
    parse_confidence,
    present,
)
from manylabel.storage.schema import SplitName


def test_names_are_composed_and_trimmed():
    assert normalise_label(" \u00a0cafe\u0301\n") == "caf\u00e9"
    assert normalise_label("Big  Cat") == "Big  Cat"
    assert normalise_label("\t ") == ""


@pytest.mark.parametrize(
    ("raw", "value"),
    [("0", 0), ("1.0", 1), (" .5 ", 0.5), (0.25, 0.25), ("1e-3", 0.001), ("1.0001", None)]
    + [(text, None) for text in ("", "nan", "-1e-9", "inf", "1,0", "yes")],
)
def test_confidences(raw, value):
    assert parse_confidence(raw) == value


def test_the_highest_confidence_counts():
    merged = merge_labels([{"b": 0.0, "a": 0.5}, {"a": 0.25, "b": 0.1}, {"c": 0.0}])
    assert merged == {"a": 0.5, "b": 0.1, "c": 0.0}
    assert list(merged) == ["a", "b", "c"]
    assert present(merged) == ["a", "b"]


def test_the_vocabulary_is_what_training_has_by_name():
    counts = [
        (("żółw", SplitName.TRAIN), 3),
        (("cat", SplitName.HELDOUT), 1),
        (("unseen", SplitName.HELDOUT), 9),
        (("cat", SplitName.TRAIN), 2),
    ]
    assert build_vocabulary(counts) == [LabelCount("cat", 2, 1), LabelCount("żółw", 3, 0)]
    assert build_vocabulary([]) == []
