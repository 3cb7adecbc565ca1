"""One candidate per image, whatever its rows say."""

import pytest

from manylabel.preprocessing.catalogs import CatalogRow
from manylabel.preprocessing.listing import (
    Candidate,
    Duplicate,
    image_id_of,
    image_key,
    merge_equal_files,
    merge_rows,
)
from manylabel.preprocessing.rejections import ImageRejectedError, Rejection, RejectReason


def row(image="a.jpg", label="cat", confidence="1", group=None):
    return CatalogRow(image, label, confidence, group)


@pytest.mark.parametrize(
    ("raw", "image_id"),
    [
        ("a.jpg", "a.jpg"),
        ("a/./b//c.jpg", "a/b/c.jpg"),
        ("a/../b.jpg", "b.jpg"),
        ("..a/b.jpg", "..a/b.jpg"),
        (" a b.jpg", " a b.jpg"),
    ],
)
def test_paths_are_normalised(raw, image_id):
    assert image_id_of(raw) == image_key(raw) == image_id


@pytest.mark.parametrize("raw", ["", ".", "..", "../a.jpg", "a/../../b.jpg", "/etc/passwd", "a\0b"])
def test_paths_that_leave_the_root_are_rejected(raw):
    assert image_key(raw) == raw
    with pytest.raises(ImageRejectedError) as error:
        image_id_of(raw)
    assert error.value.reason is RejectReason.BAD_PATH
    (rejection,) = merge_rows(raw, [row(raw)])
    assert isinstance(rejection, Rejection)
    assert (rejection.image_id, rejection.reason) == (raw, RejectReason.BAD_PATH)


def test_labels_are_normalised_and_merged():
    rows = [
        row(label="  cafe\u0301 ", confidence=".25"),
        row(label="café", confidence="0.5"),
        row(label="dog", confidence="0"),
        row(label="dog", confidence="1"),
        row(label="bird", confidence="0"),
    ]
    assert list(merge_rows("a.jpg", rows)) == [
        Candidate("a.jpg", {"bird": 0.0, "café": 0.5, "dog": 1.0})
    ]


def test_further_spellings_are_duplicates():
    rows = [row("./a.jpg", "cat"), row("a.jpg", "dog"), row("x/../a.jpg", "cat"), row("a.jpg")]
    assert list(merge_rows("a.jpg", rows)) == [
        Duplicate("./a.jpg", "a.jpg"),
        Duplicate("x/../a.jpg", "a.jpg"),
        Candidate("a.jpg", {"cat": 1.0, "dog": 1.0}),
    ]


def test_groups_are_collected():
    rows = [row(group="b"), row(group=None), row(group="a"), row(group="b")]
    assert list(merge_rows("a.jpg", rows)) == [Candidate("a.jpg", {"cat": 1.0}, ("a", "b"))]


@pytest.mark.parametrize(
    "confidence", ["nan", "inf", "-inf", "1.01", "-0.1", "", "much", float("nan"), 2.0]
)
def test_a_bad_confidence_costs_its_label_only(confidence):
    rows = [row(label="dog", confidence=confidence), row(label="cat", confidence=0.5)]
    rejection, candidate = merge_rows("a.jpg", rows)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is RejectReason.BAD_CONFIDENCE
    assert "'dog'" in rejection.detail
    assert candidate == Candidate("a.jpg", {"cat": 0.5})


def test_a_blank_label_costs_itself_only():
    blank, candidate = merge_rows("a.jpg", [row(label=" \t"), row()])
    assert blank == Rejection("a.jpg", RejectReason.EMPTY_LABEL, "received ' \\t'")
    assert candidate == Candidate("a.jpg", {"cat": 1.0})


@pytest.mark.parametrize(
    ("rows", "reasons"),
    [
        ([row(label=None)], [RejectReason.NO_LABEL]),
        ([row(confidence="0")], [RejectReason.NO_LABEL]),
        ([row(confidence="nan")], [RejectReason.BAD_CONFIDENCE, RejectReason.NO_LABEL]),
    ],
)
def test_an_image_without_a_label_is_rejected(rows, reasons):
    rejections = list(merge_rows("a.jpg", rows))
    assert [item.reason for item in rejections if isinstance(item, Rejection)] == reasons
    assert len(rejections) == len(reasons)


@pytest.mark.parametrize("label", ['a, "b"', "🐢", "x" * 10_000, "Big cat", "don't"])
def test_odd_labels_survive(label):
    assert list(merge_rows("a.jpg", [row(label=label)])) == [Candidate("a.jpg", {label: 1.0})]


def test_equal_files_become_the_first_by_path():
    files = [
        Candidate("b.jpg", {"cat": 0.5, "dog": 0.0}, ("g",), "d", b"h"),
        Candidate("a.jpg", {"cat": 0.25}, (), "d", b"h"),
        Candidate("c.jpg", {"bird": 1.0}, ("f",), "d", b"h"),
    ]
    assert list(merge_equal_files(files)) == [
        Duplicate("b.jpg", "a.jpg"),
        Duplicate("c.jpg", "a.jpg"),
        Candidate("a.jpg", {"bird": 1.0, "cat": 0.5, "dog": 0.0}, ("f", "g"), "d", b"h"),
    ]
