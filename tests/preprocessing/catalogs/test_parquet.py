"""Parquet catalogs: kinds of text and numbers, damage, row groups."""

import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import catalog_pieces, count_rows, read_piece
from manylabel.preprocessing.catalogs.parquet_file import read_parquet
from manylabel.preprocessing.catalogs.rows import BATCH_BYTES, BATCH_ROWS
from manylabel.preprocessing.errors import PreprocessingError

CATS = ["cat", "", None, "cat"]


@pytest.fixture
def write(tmp_path):
    def write(options=None, **columns):
        path = tmp_path / "c.parquet"
        pq.write_table(pa.table(columns), path, **options or {})
        return path

    return write


@pytest.fixture
def not_utf8():
    return pa.Array.from_buffers(pa.string(), 1, pa.array([b"caf\xe9"]).buffers())


def test_rows_in_order(write, rows_of):
    path = write(
        image_path=["b.jpg", "a.jpg", None],
        label=["cat", None, "dog"],
        confidence=[0.5, 1.0, None],
        owner=["ann", None, ""],
    )
    assert rows_of(path, group_column="owner") == [
        ("b.jpg", "cat", 0.5, "ann"),
        ("a.jpg", None, 1.0, None),
        ("", "dog", None, None),
    ]


def test_odd_labels_and_no_confidence(write, rows_of, odd_labels):
    path = write(image_path=["a.jpg"] * 5, label=odd_labels)
    rows = rows_of(path, confidence_column=None)
    assert [label for _, label, _, _ in rows] == odd_labels
    assert {confidence for _, _, confidence, _ in rows} == {1.0}


@pytest.mark.parametrize(
    "text",
    [
        pa.array(CATS),
        pa.array(CATS, pa.large_string()),
        pa.array(CATS, pa.string_view()),
        pa.array(CATS).dictionary_encode(),
        pa.array(CATS, pa.large_string()).dictionary_encode(),
        pa.array(CATS, pa.binary()),
        pa.array(CATS, pa.large_binary()).dictionary_encode(),
    ],
)
def test_text_of_any_kind(write, rows_of, text):
    path = write(image_path=["a.jpg"] * 4, label=text)
    labels = [label for _, label, _, _ in rows_of(path, confidence_column=None)]
    assert labels == ["cat", None, None, "cat"]


LISTS = [["cat", "dog"], None, [], ["owl", None], ["emu"]]


@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.string_view(), pa.binary()])
@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
def test_lists_of_text_of_any_kind(write, rows_of, text, dictionary, kind):
    if dictionary:
        text = pa.dictionary(pa.int32(), pa.large_string() if text == pa.binary() else pa.string())
    path = write(image_path=list("abcde"), label=pa.array(LISTS, kind(text)))
    rows = [(image, label) for image, label, _, _ in rows_of(path) if label is not None]
    assert rows == [("a", "cat"), ("a", "dog"), ("d", "owl"), ("e", "emu")]


def test_whole_numbers_are_names_of_labels_and_groups(write, rows_of):
    path = write(image_path=["a"], label=pa.array([7], pa.int8()), confidence=[1], owner=[12])
    assert rows_of(path, group_column="owner") == [("a", "7", 1.0, "12")]


def test_a_column_of_nulls_has_no_type(write, rows_of):
    path = write(image_path=["a"], label=pa.nulls(1), confidence=pa.nulls(1), owner=pa.nulls(1))
    assert rows_of(path, group_column="owner") == [("a", None, None, None)]


@pytest.mark.parametrize(
    "numbers",
    [
        pa.array([1, 0, None], pa.int8()),
        pa.array([2**63, 0, None], pa.uint64()),
        pa.array([0.5, 0.0, None], pa.float32()),
        pa.array(np.array([0.5, 0.0, np.nan], np.float16)),
    ],
)
def test_numbers_of_any_kind(write, rows_of, numbers):
    rows = rows_of(write(image_path=["a.jpg"] * 3, label=["x"] * 3, confidence=numbers))
    expected = [value and float(value) for value in numbers.to_pylist()]
    np.testing.assert_equal([confidence for _, _, confidence, _ in rows], expected)


def test_columns_whose_names_are_paths_or_empty(write, rows_of):
    path = write(**{"a.b": ["a.jpg"], "a": [{"b": 1}], "": [0.5], "c": ["cat"]})
    rows = rows_of(path, image_column="a.b", label_column="c", confidence_column="")
    assert rows == [("a.jpg", "cat", 0.5, None)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image_path": [1]}, "'image_path': expected text, received int64"),
        ({"label": [0.5]}, "'label': expected text or lists of text, received double"),
        ({"image_path": [{"bytes": b"", "path": ""}]}, "'image_path': expected text, received str"),
        ({"label": [[["x"]]]}, "'label': expected text or lists of text, received list"),
        ({"confidence": ["1"]}, "'confidence': expected numbers, received string"),
        ({"confidence": [True]}, "'confidence': expected numbers, received bool"),
        ({"confidence": [decimal.Decimal(1)]}, "expected numbers, received decimal"),
    ],
)
def test_columns_that_do_not_fit(write, rows_of, columns, message):
    path = write(**{"image_path": ["a.jpg"], "label": ["x"], "confidence": [1.0]} | columns)
    with pytest.raises(PreprocessingError, match=message):
        rows_of(path)


def test_columns_are_looked_for_even_if_there_are_no_rows(write, rows_of):
    with pytest.raises(PreprocessingError, match="expected a column 'label'"):
        rows_of(write(image_path=[]))


def test_a_column_that_is_there_twice(tmp_path, rows_of):
    names = ["image_path", "label", "x", "x"]
    path = tmp_path / "c.parquet"
    columns = [pa.array([name]) for name in "abcd"]
    pq.write_table(pa.table(columns, names=names), path)
    assert rows_of(path, confidence_column=None) == [("a", "b", 1.0, None)]
    pq.write_table(pa.table(columns, names=["image_path", "label", "label", "x"]), path)
    with pytest.raises(PreprocessingError, match="one column 'label', received 2"):
        rows_of(path, confidence_column=None)


@pytest.mark.parametrize("content", [b"", b"image_path,label", b"PAR1" * 9])
def test_another_kind_of_file(tmp_path, rows_of, content):
    path = tmp_path / "c.parquet"
    path.write_bytes(content)
    with pytest.raises(PreprocessingError, match=r"c\.parquet: expected Parquet"):
        rows_of(path)


def test_a_damaged_file(write, rows_of):
    """Its end, and so what is read first, is whole."""
    names = [f"{number}.jpg" for number in range(5000)]
    path = write(image_path=names, label=names)
    data = bytearray(path.read_bytes())
    data[4:3000] = bytes(2996)
    path.write_bytes(data)
    with pytest.raises(PreprocessingError, match=r"c\.parquet: expected Parquet") as error:
        rows_of(path, confidence_column=None)
    assert "\n" not in str(error.value)


def test_a_flipped_bit_is_found_by_the_page_s_checksum(write):
    """Pages of columns that nobody asks for are not read at all."""
    names = [f"{number:04d}.jpg" for number in range(1000)]
    others = [f"{number:04d}.txt" for number in range(1000)]
    options = {"write_page_checksum": True, "compression": "none", "use_dictionary": False}
    path = write(options, image_path=names, label=names, other=others)
    config = CatalogConfig(path=str(path), confidence_column=None)
    path.write_bytes(path.read_bytes().replace(b"0500.txt", b"0500.txu", 1))
    assert count_rows(config) == 1000
    path.write_bytes(path.read_bytes().replace(b"0500.jpg", b"0500.jpf", 1))
    with pytest.raises(PreprocessingError, match=r"expected Parquet: .*checksum"):
        count_rows(config)


@pytest.mark.parametrize("dictionary", [False, True])
def test_text_that_is_not_utf8(write, not_utf8, dictionary):
    label = not_utf8.dictionary_encode() if dictionary else not_utf8
    path = write(image_path=["a"], label=label, confidence=[1.0])
    with pytest.raises(PreprocessingError, match="column 'label': expected UTF-8"):
        count_rows(CatalogConfig(path=str(path)))


def test_a_long_text_that_repeats_is_not_decoded_all_at_once(write):
    rows = 20_000
    path = write(image_path=["a.jpg"] * rows, label=["x" * 10_000] * rows)
    assert path.stat().st_size < 100_000
    config = CatalogConfig(path=str(path), confidence_column=None)
    (piece,) = catalog_pieces(config)
    tables = read_parquet(config, piece.row_groups)
    assert max(table.nbytes for table in tables) <= BATCH_BYTES


def test_pieces_are_parts_of_a_useful_size(write, rows_of):
    """Opening a file reads its whole footer: thousands of small row groups must not each do so."""
    rows = 2 * BATCH_ROWS + 10_000
    names = pa.array(np.arange(rows)).cast(pa.string())
    path = write({"row_group_size": 10_000}, image_path=names, label=names)
    config = CatalogConfig(path=str(path), confidence_column=None)
    pieces = catalog_pieces(config)
    sizes = [[table.num_rows for table in read_piece(piece, config)] for piece in pieces]
    assert [sum(piece) for piece in sizes] == [BATCH_ROWS, BATCH_ROWS, 10_000]
    assert [image for image, _, _, _ in rows_of(path, confidence_column=None)] == names.to_pylist()
