"""A column for each label: which columns, and what their cells say."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import catalog_pieces, count_rows, read_piece
from manylabel.preprocessing.errors import PreprocessingError

ALL = {"label_columns": ["*"]}


@pytest.mark.parametrize(
    ("cell", "confidence"),
    [
        *((cell, "1") for cell in ("1", "true", "TRUE", "True", "yes", "Y", "t", " 1 ")),
        *((cell, cell) for cell in ("1.0", "0.25", "1e-3", ".5")),
        *((cell, None) for cell in ("", "nan", "NaN", " ")),
        *((cell, None) for cell in ("0", "0.0", "-0", "00", ".0", "0e5", "false", "No", "F", "n")),
        # Rejected later, by name, as confidences are.
        *((cell, cell) for cell in ("-1", "7", "1.5", "x", "NA", "null", "inf", "0.5%")),
    ],
)
def test_cells(write, rows_of, cell, confidence):
    rows = rows_of(write(f"image_path,cat,dog\na,{cell},1\n"), **ALL)
    cats = [] if confidence is None else [("a", "cat", confidence, None)]
    assert rows == [*cats, ("a", "dog", "1", None)]


def test_an_image_without_labels_stays_listed(write, rows_of):
    rows = rows_of(write("image_path,cat\na,0\nb,\nc,1\n"), **ALL)
    assert [row[:2] for row in rows] == [("a", None), ("b", None), ("c", "cat")]


@pytest.mark.parametrize("cell", ["0", "0.0", "false", "no"])
def test_zeros_may_be_verified_absences(write, rows_of, cell):
    rows = rows_of(write(f"image_path,cat,dog\na,{cell},\n"), **ALL, label_zeros="absent")
    assert [(label, float(value)) for _, label, value, _ in rows] == [("cat", 0)]


@pytest.mark.parametrize("null", [-1, "-1", "-1.0", ["NA", "-1"]])
def test_null_values_say_nothing(write, rows_of, null):
    """As CheXpert writes what was uncertain; as numbers they are equal however they are spelled."""
    path = write("image_path,cat,dog\na,-1.0,1\nb,-1,1\n")
    rows = rows_of(path, **ALL, null_values=null)
    assert [row[:2] for row in rows] == [("a", "dog"), ("b", "dog")]


def test_words_are_null_values_as_well(write, rows_of):
    path = write("image_path,cat\na,unknown\nb,1\n")
    rows = rows_of(path, **ALL, null_values=["unknown"])
    assert [row[:2] for row in rows] == [("a", None), ("b", "cat")]


@pytest.mark.parametrize(
    ("entries", "labels"),
    [
        ("*", ["cat", "dog", "d*"]),
        (["dog", "cat"], ["cat", "dog"]),
        (["d*"], ["d*"]),  # A name is that column, before it is a pattern.
        (["do*"], ["dog"]),
        (["*", "!cat"], ["dog", "d*"]),
        (["!c*", "*"], ["dog", "d*"]),
        (["?at", "dog"], ["cat", "dog"]),
    ],
)
def test_columns_are_chosen_by_name_or_pattern(write, rows_of, entries, labels):
    path = write("who,image_path,cat,part,dog,d*\nann,a,1,train,1,1\n")
    settings = {"group_column": "who", "split_column": "part", "split": "train"}
    rows = rows_of(path, label_columns=entries, **settings)
    assert rows == [("a", label, "1", "ann") for label in labels]


@pytest.mark.parametrize("index", ["", "Unnamed: 0", " ", "__index_level_0__"])
def test_row_numbers_of_pandas_are_no_labels(write, rows_of, index):
    path = write(f"{index},image_path,cat\n0,a,1\n1,b,1\n2,c,1\n")
    assert {label for _, label, _, _ in rows_of(path, **ALL)} == {"cat"}


@pytest.mark.parametrize(
    ("header", "entries", "message"),
    [
        ("image_path,cat", ["dog"], "expected columns 'dog', received columns ['image_path', 'cat"),
        ("image_path,cat", ["c*", "x*"], "expected columns 'x*', received columns"),
        ("image_path,cat", ["image_path"], "'image_path' is named by preprocessing.catalog.label_"),
        ("image_path,cat", ["*", "!cat"], "expected columns of labels, received none that"),
        ("image_path", ["*"], "expected columns of labels, received none that"),
        ("image_path,cat", [], "label_columns to '*' where each label has a column of its own"),
        ("image_path,cat,cat", ["*"], "one column 'cat' for that label, received columns 2 and 3"),
        ("file,cat", ["*"], "set preprocessing.catalog.image_column to one of them"),
    ],
)
def test_columns_that_are_not_there(write, rows_of, header, entries, message):
    with pytest.raises(PreprocessingError) as error:
        rows_of(write(header + "\n"), label_columns=entries)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


NAMES = {"label_columns": ["tag*"], "label_cells": "names"}


def test_cells_may_be_the_labels(write, rows_of):
    path = write("image_path,tag 1,tag 2,tag 3\na,haze, primary ,\nb,,,\nc,x,NA,x\n")
    rows = rows_of(path, **NAMES, null_values=["NA"])
    pairs = [("a", "haze"), ("a", "primary"), ("b", None), ("c", "x"), ("c", "x")]
    assert rows == [(image, label, 1.0, None) for image, label in pairs]


@pytest.mark.parametrize(
    ("text", "settings"),
    [("image_path,tag,tag\na,x,y\n", {}), ("a,x,y\n", {"label_columns": "*", "header": False})],
)
def test_columns_of_labels_need_no_names_of_their_own(write, rows_of, text, settings):
    rows = rows_of(write(text), **NAMES | settings)
    assert [row[:2] for row in rows] == [("a", "x"), ("a", "y")]


def test_names_in_parquet(write_parquet, rows_of):
    path = write_parquet(image_path=["a", "b"], tag1=["x", None], tag2=[3, 17])
    assert [row[:2] for row in rows_of(path, **NAMES)] == [("a", "x"), ("a", "3"), ("b", "17")]


def test_columns_of_parquet_that_are_called_the_same(tmp_path, rows_of):
    path = tmp_path / "c.parquet"
    columns = [pa.array([name]) for name in ("a.jpg", "x", "y")]
    pq.write_table(pa.table(columns, names=["image_path", "tag", "tag"]), path)
    with pytest.raises(PreprocessingError, match="one column 'tag', received 2"):
        rows_of(path, **NAMES)


def test_numbers_of_parquet(write_parquet, rows_of):
    path = write_parquet(
        image_path=["a", "b", "c"],
        cat=[True, None, False],
        dog=[0.5, float("nan"), -1.0],
        fox=pa.array([0, 1, 7], pa.int8()),
    )
    rows = [row[:3] for row in rows_of(path, **ALL)]
    assert rows == [
        ("a", "cat", 1.0),
        ("a", "dog", 0.5),
        ("b", "fox", 1.0),
        ("c", "dog", -1.0),
        ("c", "fox", 7.0),
    ]
    rows = rows_of(path, **ALL, label_zeros="absent", null_values=[-1])
    assert ("c", "cat", 0.0, None) in rows
    assert not any(label == "dog" for image, label, _, _ in rows if image == "c")


def test_numbers_beside_texts_in_parquet(write_parquet, rows_of):
    path = write_parquet(image_path=["a", "b"], cat=[True, False], dog=["yes", "x"], fox=[0.5, 0.0])
    rows = [row[:3] for row in rows_of(path, **ALL)]
    assert rows == [("a", "cat", "1"), ("a", "dog", "1"), ("a", "fox", "0.5"), ("b", "dog", "x")]


def test_a_parquet_column_that_can_be_no_label(write_parquet, rows_of):
    path = write_parquet(image_path=["a"], cat=[1], when=[datetime.date(2020, 1, 1)])
    with pytest.raises(PreprocessingError, match=r"column 'when': .*; leave it out by '!when' in"):
        rows_of(path, **ALL)
    assert len(rows_of(path, label_columns=["*", "!when"])) == 1


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_thousands_of_columns_cost_what_is_in_them(tmp_path, suffix):
    """Against numpy: every cell that is not 0 is a row, in the table's order, and no other one."""
    rng = np.random.default_rng(1)
    matrix = rng.integers(0, 300, (300, 3000)) == 0
    names = [f"label {number}" for number in range(3000)]
    images = [f"{number}.jpg" for number in range(300)]
    path = tmp_path / f"c.{suffix}"
    if suffix == "csv":
        lines = [
            ",".join([name, *row]) for name, row in zip(images, matrix.astype("U1"), strict=True)
        ]
        lines = [line.replace("T", "1").replace("F", "0") for line in lines]
        path.write_text("\n".join([",".join(["image_path", *names]), *lines]))
    else:
        columns = dict(zip(names, matrix.T.astype(np.int8), strict=True))
        pq.write_table(pa.table({"image_path": images} | columns), path)
    config = CatalogConfig(path=str(path), **ALL)
    (piece,) = catalog_pieces(config)
    table = pa.concat_tables(read_piece(piece, config))
    row, column = np.nonzero(matrix)
    assert table["image"].to_pylist() == [images[at] for at in row]
    assert table["label"].to_pylist() == [names[at] for at in column]
    assert count_rows(config) == len(row)
