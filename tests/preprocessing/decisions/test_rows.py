"""Each row by what it says itself: names, confidences, paths."""

import random

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.decisions.rows import (
    ROWS,
    are_refused,
    clean_rows,
    image_id_of,
    image_key,
    normalise_label,
    parse_confidence,
)
from manylabel.preprocessing.rejections import (
    LABEL_REASONS,
    RETRYABLE,
    ImageRejectedError,
    RejectReason,
)


def raw_rows(*rows, confidence=None):
    """Rows (image, label, confidence, group); confidences are texts unless said otherwise."""
    columns = list(zip(*rows, strict=True))
    types = (pa.string(), pa.string(), confidence or pa.string(), pa.string())
    arrays = [pa.array(values, kind) for values, kind in zip(columns, types, strict=True)]
    return pa.table(arrays, ["image", "label", "confidence", "group"])


def test_names_are_composed_and_trimmed():
    assert normalise_label(" \u00a0cafe\u0301\n") == "caf\u00e9"
    assert normalise_label("Big  Cat") == "Big  Cat"
    assert normalise_label("\ufb01sh \u00bd") == "\ufb01sh \u00bd"
    assert normalise_label("\t ") == ""


@pytest.mark.parametrize(
    ("raw", "value"),
    [("0", 0), ("1.0", 1), (" .5 ", 0.5), (0.25, 0.25), ("1e-3", 0.001), ("1.0001", None)]
    + [("1e-50", 1e-50), (2.0**-149, 2.0**-149), ("-0.0", 0.0), ("1.0000000001", None)]
    + [(text, None) for text in ("", "nan", "-1e-9", "inf", "1,0", "yes")],
)
def test_confidences(raw, value):
    assert parse_confidence(raw) == value


@pytest.mark.parametrize(
    ("raw", "image_id"),
    [
        ("a.jpg", "a.jpg"),
        ("a/./b//c.jpg", "a/b/c.jpg"),
        ("a/../b.jpg", "b.jpg"),
        ("..a/b.jpg", "..a/b.jpg"),
        (" a b.jpg", " a b.jpg"),
        # Not URLs, but folders that are named so.
        ("season:/1.jpg", "season:/1.jpg"),
        ("s3:/a.jpg", "s3:/a.jpg"),
        ("data:image/png;base64,AAAA", "data:image/png;base64,AAAA"),
        ("1a://b.jpg", "1a:/b.jpg"),
        ("./https://b.jpg", "https:/b.jpg"),
    ],
)
def test_paths_are_normalised(raw, image_id):
    assert image_id_of(raw) == image_key(raw) == image_id


@pytest.mark.parametrize("raw", ["", ".", "..", "../a.jpg", "a/../../b.jpg", "/etc/passwd", "a\0b"])
def test_paths_that_leave_the_root_are_refused(raw):
    assert image_key(raw) == raw
    with pytest.raises(ImageRejectedError) as error:
        image_id_of(raw)
    assert error.value.reason is RejectReason.BAD_PATH
    assert error.value.detail == f"expected a path below the image root, received {raw!r}"


@pytest.mark.parametrize(
    "raw", ["https://example.org/a.jpg", "s3://bucket/a.jpg", "file:///a.jpg", "git+ssh://a/../b"]
)
def test_an_url_is_refused_and_told_what_to_do(raw):
    assert image_key(raw) == raw
    with pytest.raises(ImageRejectedError) as error:
        image_id_of(raw)
    assert error.value.reason is RejectReason.BAD_PATH
    assert f"the URL {raw!r}" in error.value.detail
    assert "set catalog.http to {}" in error.value.detail


def test_columns_of_paths_become_what_each_path_becomes():
    rng = random.Random(0)
    parts = [".", "..", "/", "a", "b.c", "\0", "\n", ":", "s3:", " ", "é", "\\", "..."]
    paths = {"".join(rng.choices(parts, k=rng.randrange(7))) for _ in range(4000)}
    cleaned, _ = clean_rows(raw_rows(*((path, "cat", "1", None) for path in paths)))
    keys = cleaned.column("image").combine_chunks()
    refused = are_refused(keys)
    for path, row, is_refused in zip(paths, cleaned.to_pylist(), refused, strict=True):
        assert row["image"] == image_key(path)
        assert row["spelling"] == (None if path == row["image"] else path)
        try:
            image_id_of(path)
        except ImageRejectedError:
            assert is_refused, path
        else:
            assert not is_refused, path
    assert 400 < sum(refused) < len(paths) - 400


def test_what_can_be_used_of_a_row():
    rows = [
        ("a.jpg", " cafe\u0301 ", ".25", "ann"),
        ("./a.jpg", "dog", "0", None),
        ("a.jpg", None, "", None),
        ("b.jpg", "\t ", "1", "bob"),
        ("x//b.jpg", "dog", "2", None),
        ("../c.jpg", "dog", None, None),
        ("d.jpg", " ", "nan", None),
    ]
    cleaned, rejected = clean_rows(raw_rows(*rows))
    assert cleaned.schema == ROWS
    assert [tuple(row.values()) for row in cleaned.to_pylist()] == [
        ("a.jpg", None, "café", 0.25, "ann"),
        ("a.jpg", "./a.jpg", "dog", 0.0, None),
        ("a.jpg", None, None, None, None),
        ("b.jpg", None, None, 1.0, "bob"),
        ("x/b.jpg", "x//b.jpg", None, None, None),
        ("../c.jpg", None, None, None, None),
        ("d.jpg", None, None, None, None),
    ]
    assert [tuple(row.values()) for row in rejected.to_pylist()] == [
        ("b.jpg", RejectReason.EMPTY_LABEL, "received '\\t '"),
        ("d.jpg", RejectReason.EMPTY_LABEL, "received ' '"),
        ("x/b.jpg", RejectReason.BAD_CONFIDENCE, "label 'dog': received '2'"),
        ("../c.jpg", RejectReason.BAD_CONFIDENCE, "label 'dog': received ''"),
    ]


def test_a_rejection_does_not_repeat_what_fills_pages():
    _, rejected = clean_rows(raw_rows(("a.jpg", "cat" * 1000, "2" * 5000, None)))
    (detail,) = rejected["detail"].to_pylist()
    assert len(detail) < 1100


def test_confidences_that_are_numbers_already():
    values = [0.0, 0.5, 1.0, 1.01, -0.1, float("nan"), float("inf"), None]
    rows = [("a.jpg", "cat", value, None) for value in values]
    cleaned, rejected = clean_rows(raw_rows(*rows, confidence=pa.float64()))
    assert cleaned.column("confidence").to_pylist() == [0.0, 0.5, 1.0, *[None] * 5]
    assert cleaned.column("label").to_pylist() == ["cat"] * 3 + [None] * 5
    received = ("1.01", "-0.1", "nan", "inf", "''")
    assert rejected.column("detail").to_pylist() == [f"label 'cat': received {r}" for r in received]


@pytest.mark.parametrize("confidence", [pa.string(), pa.float64()])
def test_a_confidence_that_records_would_have_as_0_is_no_absence(confidence):
    """Records have floats of 32 bits, of which 2**-149 is the smallest."""
    values = [1e-50, 5e-324, 2.0**-150, 1e-45, 2.0**-149, -0.0, 0.0]
    spell = repr if confidence == pa.string() else float
    rows = [(f"{at}.jpg", "cat", spell(value), None) for at, value in enumerate(values)]
    cleaned, rejected = clean_rows(raw_rows(*rows, confidence=confidence))
    assert cleaned.column("label").to_pylist() == [None] * 3 + ["cat"] * 4
    kept = cleaned.column("confidence").to_numpy()[3:].astype(np.float32)
    assert (kept > 0).tolist() == [True, True, False, False]
    assert rejected.column("image_id").to_pylist() == ["0.jpg", "1.jpg", "2.jpg"]
    assert set(rejected.column("reason").to_pylist()) == {RejectReason.TINY_CONFIDENCE}
    received = "1e-50" if confidence == pa.float64() else "'1e-50'"
    told = f"label 'cat': received {received}; write 0 if it is absent, or at least 1e-45"
    assert rejected.column("detail").to_pylist()[0] == told


def test_columns_of_texts_become_what_each_text_becomes():
    rng = random.Random(0)
    texts = [repr(rng.random() * 1.1) for _ in range(1000)]
    texts += [f"{rng.choice('01')}.{rng.getrandbits(80)}" for _ in range(1000)]
    texts += ["".join(rng.choices("01.5 -e_", k=rng.randrange(5))) for _ in range(3000)]
    rows = [(f"{number}.jpg", "cat", text, None) for number, text in enumerate(texts)]
    cleaned, rejected = clean_rows(raw_rows(*rows))
    values = [parse_confidence(text) for text in texts]
    assert cleaned.column("confidence").to_pylist() == values
    assert rejected.num_rows == values.count(None) > 1000


@pytest.mark.parametrize("label", ['a, "b"', "🐢", "x" * 10_000, "Big cat", "don't", "a\nb", "0"])
def test_odd_labels_survive(label):
    cleaned, rejected = clean_rows(raw_rows(("a.jpg", label, "1", None)))
    assert cleaned.column("label").to_pylist() == [label]
    assert not rejected.num_rows


def test_a_reason_to_look_again_is_never_of_the_catalog():
    of_the_catalog = {RejectReason.BAD_PATH, RejectReason.NO_LABEL, RejectReason.NO_LABEL_LEFT}
    assert not RETRYABLE & (of_the_catalog | LABEL_REASONS)


def test_absolute_paths_below_the_root_are_paths_below_it():
    roots = ("/data/pictures", "file:///data/pictures", "s3://bucket/é")
    paths = {
        "/data/pictures/a.jpg": "a.jpg",
        "/data/pictures//b/./c.jpg": "b/c.jpg",
        "file:///data/pictures/a b.jpg": "a b.jpg",
        "s3://bucket/é/ü.jpg": "ü.jpg",
        "a.jpg": "a.jpg",
        "data/pictures/a.jpg": "data/pictures/a.jpg",
    }
    refused = [
        "/data/pictures",
        "/data/pictures/",
        "/data/pictures2/a.jpg",
        "/data/pictures/../secret.jpg",
        "/etc/passwd",
        "s3://bucket/other.jpg",
    ]
    cleaned, _ = clean_rows(raw_rows(*((path, "x", "1", None) for path in paths)), roots=roots)
    assert cleaned.column("image").to_pylist() == [*paths.values()]
    spelled = [None if path == key else path for path, key in paths.items()]
    assert cleaned.column("spelling").to_pylist() == spelled
    cleaned, _ = clean_rows(raw_rows(*((path, "x", "1", None) for path in refused)), roots=roots)
    assert are_refused(cleaned.column("image").combine_chunks()).all()
    cleaned, _ = clean_rows(raw_rows(("/a.jpg", "x", "1", None)), roots=("/",))
    assert cleaned.column("image").to_pylist() == ["a.jpg"]
