"""Cells of several labels: joined by a separator, or lists of Arrow's own."""

import random

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig, HeldoutCatalogConfig
from manylabel.preprocessing.catalogs import catalog_pieces, count_rows, read_piece
from manylabel.preprocessing.catalogs.joined_labels import pairs_of_cells
from manylabel.preprocessing.catalogs.rows import BATCH_BYTES
from manylabel.preprocessing.errors import PreprocessingError


def labels_of(rows):
    """Of each image, in the order of both."""
    labels: dict[str, list[str | None]] = {}
    for image, label, _, _ in rows:
        labels.setdefault(image, []).append(label)
    return labels


@pytest.mark.parametrize(
    ("separator", "cell", "labels"),
    [
        ("|", "haze|primary", ["haze", "primary"]),
        ("|", "haze", ["haze"]),
        ("|", "haze|primary|", ["haze", "primary"]),
        ("|", "|haze||primary", ["haze", "primary"]),
        ("|", " haze | clear sky ", ["haze", "clear sky"]),
        ("|", "haze|haze", ["haze", "haze"]),  # Merged later, as two equal rows are.
        ("|", "||", [None]),
        ("|", "", [None]),
        (" ", "haze primary", ["haze", "primary"]),
        (" ", " haze  primary ", ["haze", "primary"]),
        (",", '"haze, primary,"', ["haze", "primary"]),
        (";", "haze;primary", ["haze", "primary"]),
        ("\t", "haze\tclear sky", ["haze", "clear sky"]),
        (" - ", "t-shirt - red", ["t-shirt", "red"]),
        ("||", "a|b||c", ["a|b", "c"]),
        ("\n", '"haze\nprimary\r\n"', ["haze", "primary"]),
        (".", "a.b", ["a", "b"]),  # A text, never a pattern.
    ],
)
def test_a_separator(write, rows_of, separator, cell, labels):
    rows = rows_of(write(f"image_path,label\na.jpg,{cell}\n"), label_separator=separator)
    assert rows == [("a.jpg", label, 1.0, None) for label in labels]


@pytest.mark.parametrize(
    ("cell", "confidence", "pairs"),
    [
        ("x|y", "0.5", [("x", "0.5"), ("y", "0.5")]),
        ("x|y", "0.5|0", [("x", "0.5"), ("y", "0")]),
        ("x|y|", "0.5|0.25|", [("x", "0.5"), ("y", "0.25")]),
        ("x|y|", "0.5|0.25", [("x", "0.5"), ("y", "0.25")]),
        ("x||y", "0.5||1", [("x", "0.5"), ("y", "1")]),
        ("x||y", "0.5|0.75|1", [("x", "0.5"), ("y", "1")]),  # By place where both have as many.
        (" x | y ", " 0.5 | 1 ", [("x", "0.5"), ("y", "1")]),
        ("x|y|z", "0.5|1", [("x", "0.5|1"), ("y", "0.5|1"), ("z", "0.5|1")]),
        ("x|y", "", [("x", ""), ("y", "")]),
        ("x|y", "0.5|", [("x", "0.5"), ("y", "")]),
        ("", "0.5|1", [(None, "")]),
    ],
)
def test_confidences_of_joined_labels(write, rows_of, cell, confidence, pairs):
    """What is no number is rejected later, with what was received."""
    path = write(f"image_path,label,confidence\nb,u|v,1|1\na,{cell},{confidence}\n")
    rows = [row for row in rows_of(path, label_separator="|") if row[0] == "a"]
    assert rows == [("a", label, value, None) for label, value in pairs]


def test_one_confidence_for_all_labels_of_a_cell(write, rows_of):
    path = write("image_path,label,confidence,who\na,x|y,.5,ann\nb,z,x,\n")
    rows = rows_of(path, label_separator="|", group_column="who")
    assert rows == [("a", "x", ".5", "ann"), ("a", "y", ".5", "ann"), ("b", "z", "x", None)]


def test_only_the_default_confidence_column_may_be_missing(write, rows_of):
    path = write("image_path,label\na,x|y\n")
    with pytest.raises(PreprocessingError, match=r"set preprocessing\.catalog\.confidence_column"):
        rows_of(path, label_separator="|", confidence_column="score")


def test_rows_of_another_split_are_not_looked_at(write, rows_of):
    path = write('image_path,label,part\na,"[""x""]",train\nb,broken,test\nc,,train\n')
    settings = {"label_separator": "json", "split_column": "part"}
    assert labels_of(rows_of(path, **settings, split="train")) == {"a": ["x"], "c": [None]}
    with pytest.raises(PreprocessingError, match="image 'b'"):
        rows_of(path, **settings, split="test")


def test_null_values_are_no_labels(write, rows_of):
    path = write("image_path,label\na,x|NA\nb, nan\nc,nanny\nd,none\n")
    rows = rows_of(path, label_separator="|", null_values=["NA", "nan"])
    assert labels_of(rows) == {"a": ["x"], "b": [None], "c": ["nanny"], "d": ["none"]}
    rows = rows_of(path, null_values="none", confidence_column=None)
    assert labels_of(rows) == {"a": ["x|NA"], "b": [" nan"], "c": ["nanny"], "d": [None]}


def test_lists_of_arrow_need_no_setting(write_parquet, rows_of):
    path = write_parquet(
        image_path=["a", "b", "c", "d"], label=[["x", "y"], [], None, ["z", None, ""]]
    )
    assert rows_of(path) == [
        ("a", "x", 1.0, None),
        ("a", "y", 1.0, None),
        ("b", None, 1.0, None),
        ("c", None, 1.0, None),
        ("d", "z", 1.0, None),
    ]


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_list(pa.large_string()),
        pa.list_(pa.string(), 2),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
        pa.list_(pa.string_view()),
    ],
)
def test_lists_of_any_kind(write_parquet, rows_of, kind):
    path = write_parquet(image_path=["a", "b"], label=pa.array([["x", "y"], ["z", "é"]], kind))
    assert labels_of(rows_of(path)) == {"a": ["x", "y"], "b": ["z", "é"]}


def test_lists_of_class_numbers(write_parquet, rows_of):
    path = write_parquet(image_path=["a"], label=[[3, 17]])
    assert labels_of(rows_of(path)) == {"a": ["3", "17"]}


def test_lists_of_confidences(write_parquet, rows_of):
    path = write_parquet(
        image_path=["a", "b", "c"],
        label=[["x", "y"], ["z", "u"], ["v", "w"]],
        confidence=[[0.5, 0.25], [1.0], [0.5, 0.5, 0.5]],
    )
    rows = [row[:3] for row in rows_of(path)]
    assert rows[:4] == [("a", "x", 0.5), ("a", "y", 0.25), ("b", "z", 1.0), ("b", "u", 1.0)]
    assert [label for _, label, _ in rows[4:]] == ["v", "w"]
    assert np.isnan([value for _, _, value in rows[4:]]).all()
    path = write_parquet(image_path=["a"], label=[["x", "y"]], confidence=[0.5])
    assert rows_of(path) == [("a", "x", 0.5, None), ("a", "y", 0.5, None)]


def test_joined_confidences_of_a_parquet_file(write_parquet, rows_of):
    path = write_parquet(image_path=["a"], label=["x|y"], confidence=["0.5|1"])
    rows = rows_of(path, label_separator="|")
    assert rows == [("a", "x", "0.5", None), ("a", "y", "1", None)]


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        ({"label": [["x"]]}, {"label_separator": "|"}, "received lists; remove"),
        ({"label": [[0.5]]}, {}, "'label': expected text or lists of text, received list"),
        ({"label": [[["x"]]]}, {}, "'label': expected text or lists of text, received list"),
        ({"label": ["x"], "confidence": [[1.0]]}, {}, "'confidence': expected numbers, received"),
    ],
)
def test_columns_that_do_not_fit(write_parquet, rows_of, columns, settings, message):
    with pytest.raises(PreprocessingError, match=message):
        rows_of(write_parquet(image_path=["a"], **columns), **settings)


def plainly(labels, confidences, separator):
    """Row, label, confidence: as a loop over Python's texts makes them."""
    for row, (cell, confidence) in enumerate(zip(labels, confidences, strict=True)):
        parts = [part.strip() for part in (cell or "").split(separator)]
        named = [(place, part) for place, part in enumerate(parts) if part]
        values = [value.strip() for value in (confidence or "").split(separator)]
        given = [value for value in values if value]
        for rank, (place, part) in enumerate(named):
            if len(values) in (1, len(parts)):
                value = values[place if len(values) > 1 else 0]
            else:
                value = given[rank] if len(given) == len(named) else confidence
            yield row, part, (value or "").strip()
        if not named:
            yield row, None, ""


def random_cells(rng, parts, rows):
    cells = ["".join(rng.choices(parts, k=rng.randrange(7))) for _ in range(rows)]
    return [rng.choice([None, cell, cell]) for cell in cells]


def test_any_cells_are_split_as_a_loop_over_them_would():
    rng = random.Random(3)
    config = CatalogConfig(path="c.csv", label_separator=";")
    for _ in range(500):
        rows = rng.randrange(5)
        labels = random_cells(rng, ["a", "b", " ", ";", ";", "é"], rows)
        confidences = random_cells(rng, ["1", ".5", " ", ";", ";", "x"], rows)
        # A part of a longer array, as Arrow may give one.
        label, confidence = (
            pa.array(["x;y", *part], pa.string()).slice(1) for part in (labels, confidences)
        )
        pairs = pairs_of_cells(label, confidence, config, label)
        values = pairs.confidences()
        assert values is not None
        rows_of_pairs = zip(
            pairs.row.tolist(), pairs.labels().to_pylist(), values.to_pylist(), strict=True
        )
        received = [
            (row, label, (value or "").strip() if label else "")
            for row, label, value in rows_of_pairs
        ]
        assert received == list(plainly(labels, confidences, ";")), (labels, confidences)


def test_a_cell_of_many_labels_does_not_repeat_a_long_path_at_once(tmp_path):
    """100,000 labels beside a path of 100 kB are 10 GB, if all were written out."""
    path = tmp_path / "c.csv"
    path.write_text(f"image_path,label\n{'p' * 100_000},{'x;' * 100_000}\n")
    config = CatalogConfig(path=str(path), label_separator=";")
    (piece,) = catalog_pieces(config)
    tables = read_piece(piece, config)
    sizes = [next(tables).nbytes for _ in range(3)]
    assert max(sizes) < 2 * BATCH_BYTES


def test_a_held_out_catalog_has_the_same_forms(write):
    path = write("image_path,label\na,broken\nb,\n")
    config = HeldoutCatalogConfig(path=str(path), label_separator="json")
    with pytest.raises(PreprocessingError, match=r"heldout\.catalog\.label_separator"):
        count_rows(config)
