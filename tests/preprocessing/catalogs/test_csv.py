"""CSV catalogs: what is read, at any block size, and what is said about broken ones."""

import csv
import io
import random
import tracemalloc
from itertools import pairwise

import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.csv_file import (
    MAX_FIELD_BYTES,
    MAX_LINE_BYTES,
    cut_at_line_ends,
    read_csv,
)
from manylabel.preprocessing.errors import PreprocessingError

HEADER = b"image_path,label,confidence\n"

ODD_CELLS = [
    *(
        "",
        "a",
        "NA",
        "null",
        "0012",
        "1e5",
        " a ",
        "é",
        "\ufeff",
        "\0",
        "'",
        "\\",
        "\t",
        "\x0b\x85",
    ),
    *('""', '"a"', '"a""b"', '""""', '"a,b"', '"\n"', '"a\r\nb"', '"\r"', '"\ufeff"', '"\\"'),
]
BROKEN_CELLS = ['"', '"a', 'a"', '"a"b', 'a"b', '"a" ', ' "a"', '"a""', "a,b", '""a"']


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "c.csv"
        path.write_bytes(content)
        return path

    return write


def message_of(rows_of, path, **settings):
    with pytest.raises(PreprocessingError) as error:
        rows_of(path, **settings)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_rows_in_order(write, rows_of):
    path = write(HEADER + b"b.jpg,cat,1.0\na.jpg,dog,0\n\n")
    assert rows_of(path) == [("b.jpg", "cat", "1.0", None), ("a.jpg", "dog", "0", None)]


def test_columns_are_settings(write, rows_of):
    path = write(b"who,what,sure,image_path,label,file\nann,cat,.5,x,y,a.jpg\n")
    settings = {
        "image_column": "file",
        "label_column": "what",
        "confidence_column": "sure",
        "group_column": "who",
    }
    assert rows_of(path, **settings) == [("a.jpg", "cat", ".5", "ann")]


def test_without_a_confidence_column_all_are_certain(write, rows_of):
    path = write(b"image_path,label\na.jpg,cat\n")
    assert rows_of(path, confidence_column=None) == [("a.jpg", "cat", 1.0, None)]


def test_odd_labels_survive(write, rows_of, odd_labels):
    lines = ['a.jpg,"' + label.replace('"', '""') + '",1' for label in odd_labels]
    path = write(HEADER + "\n".join(lines).encode())
    assert [label for _, label, _, _ in rows_of(path)] == odd_labels


def test_a_byte_order_mark_is_no_part_of_the_first_column(write, rows_of):
    assert len(rows_of(write("\ufeff".encode() + HEADER + b"a.jpg,cat,1\n"))) == 1


def test_empty_cells_are_no_label_and_no_group(write, rows_of):
    path = write(b"image_path,label,confidence,group\na.jpg,,1,\n")
    assert rows_of(path, group_column="group") == [("a.jpg", None, "1", None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + b"a.jpg,cat,1\na.jpg,caf\xe9,1\n", "line 3: expected UTF-8, received byte 0xe9"),
        (HEADER + b"a.jpg,caf\xc3", "line 2: expected UTF-8, received byte 0xc3"),
        (b"image_path,label,Confidence\na.jpg,cat,1\n", "expected a column 'confidence', received"),
        (
            b"file,class\na.jpg,cat\n",
            "expected columns 'image_path' and 'label', received columns ['file', 'class']; set "
            "preprocessing.catalog.image_column and preprocessing.catalog.label_column to some",
        ),
        (b"1001,cat,0.5\n", ", or preprocessing.catalog.header to false where these are cells"),
        (b"image,label,confidence\n", "set preprocessing.catalog.image_column"),
        (b"", "expected columns 'image_path' and 'label', received an empty file"),
        (b"\n\r\n", "expected columns 'image_path' and 'label', received an empty file"),
        (HEADER + b"a.jpg,a, b,1\n", "line 2: expected 3 cells as in the header, received 4"),
        (HEADER + b'a.jpg,"cat,1\n', "line 2: expected CSV"),
        (HEADER + b"a.jpg," + b"x" * (MAX_FIELD_BYTES + 1), "line 2: expected CSV, received field"),
        (b"file;label\na.jpg;x,y\n", "expected a column 'image_path', received columns ['file', "),
        (b"image_path,label,label\n", "expected one column 'label', received 2; rename"),
    ],
)
def test_broken_files(write, rows_of, content, message):
    assert message in message_of(rows_of, write(content))


def test_a_confidence_that_nobody_asked_for_may_be_missing(write, rows_of):
    path = write(b"image_path,label\na.jpg,cat\n")
    assert rows_of(path) == [("a.jpg", "cat", 1.0, None)]
    with pytest.raises(PreprocessingError, match="expected a column 'score'"):
        rows_of(path, confidence_column="score")


def test_a_file_of_another_kind_is_not_shown_whole(write, rows_of):
    header = b",".join([b"\0" * 10] * 50_000)
    assert len(message_of(rows_of, write(header + b"\n"))) < 2000


def test_other_columns_may_repeat(write, rows_of):
    path = write(b"x,image_path,label,x,,\n1,a.jpg,cat,2,,\n")
    assert rows_of(path, confidence_column=None) == [("a.jpg", "cat", 1.0, None)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"a.jpg,cat,1,1", "expected 3 cells as in the header, received 4"),
        (b"a.jpg", "expected 3 cells as in the header, received 1"),
        (b'a.jpg,"cat"s,1', "expected CSV, received ',' expected after '\"'"),
        (b"a.jpg,cat,\xff", "expected UTF-8, received byte 0xff"),
    ],
)
def test_the_line_is_told_far_into_a_file(write, rows_of, row, message):
    """Line ends of all kinds and inside of quotes are lines to whoever opens the file."""
    rows = b'b.jpg,cat,1\n\nb.jpg,cat,1\r\nb.jpg,"two\nlines",1\n' * 50_000
    path = write(HEADER + rows + row + b"\n" + rows)
    assert f"line {5 * 50_000 + 2}: {message}" in message_of(rows_of, path)


def test_cells_of_columns_that_nobody_asks_for_are_checked(write, rows_of):
    rows = b"a.jpg,cat,x\n" * 200_000
    path = write(b"image_path,label,other\n" + rows + b"a.jpg,cat,\xff\n")
    assert "line 200002: expected UTF-8" in message_of(rows_of, path, confidence_column=None)


def test_the_longest_cell(write, rows_of):
    row = b"a.jpg," + b"x" * MAX_FIELD_BYTES + b",1\n"
    short = b"a.jpg,cat,1\n" * 100_000
    path = write(HEADER + short + row + short)
    assert [len(label) for _, label, _, _ in rows_of(path)].count(MAX_FIELD_BYTES) == 1
    path = write(HEADER + short + row.replace(b",1\n", b"x,1\n") + short)
    assert "line 100002: expected CSV, received field larger" in message_of(rows_of, path)


def test_a_file_without_line_ends_is_given_up(write, rows_of):
    """Memory stays bounded, whatever a file of another kind is called."""
    path = write(b"")
    with path.open("r+b") as file:
        file.truncate(8 * MAX_LINE_BYTES)  # Zeros that take no room.
    tracemalloc.start()
    try:
        assert "received a line of more than" in message_of(rows_of, path)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_LINE_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("block_bytes", [1, 2, 7, 100])
def test_blocks_are_whole_lines(block_bytes):
    content = b"one\ntwo\r\nthree\rfour\r\r\nfive\n\r\n" * 3 + b"the last one, longer"
    blocks = list(cut_at_line_ends(io.BytesIO(content), "c.csv", block_bytes))
    assert b"".join(blocks) == content
    for block, following in pairwise(blocks):
        assert block.endswith((b"\n", b"\r"))
        assert not (block.endswith(b"\r") and following.startswith(b"\n"))
        assert len(block) <= block_bytes or len(block.splitlines()) == 1


def test_blocks_end_outside_of_quotes_where_they_can():
    """Else captions of many lines would be read strictly, at a tenth of the speed."""
    row = b'a.jpg,"two\n\nthree ""quoted""\n\n\nlines",1\n'
    for block_bytes in range(len(row), 3 * len(row)):
        for block in cut_at_line_ends(io.BytesIO(row * 20), "c.csv", block_bytes):
            assert block == row * (len(block) // len(row))


def test_rows_that_are_read_strictly_are_not_gathered_without_end(write):
    """A quote within a cell is one of Python's; a block holds as many as its bytes allow."""
    path = write(HEADER + b'a,5" b,1\n' * 100_000)
    tables = list(read_csv(CatalogConfig(path=str(path)), 1 << 24))
    assert sum(table.num_rows for table in tables) == 100_000
    assert max(table.num_rows for table in tables) <= 10_000


def as_python_reads(content, delimiter):
    """The rows, or the error, of the reader that defines them, given the whole file."""
    rows: list[list[str]] = []
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        for cells in filter(None, reader):
            if rows and len(cells) != len(rows[0]):
                return f"line {reader.line_num}: expected {len(rows[0])} cells"
            rows.append(cells)
    except csv.Error as error:
        return f"line {reader.line_num}: expected CSV, received {error}"
    return rows[1:]


def random_file(rng, width, delimiter):
    broken = rng.random() < 0.3
    lines = [delimiter.join("abx"[:width])]
    for _ in range(rng.randrange(12)):
        cells = [rng.choice(ODD_CELLS) for _ in range(width)]
        if broken and rng.random() < 0.2:
            cells[rng.randrange(width)] = rng.choice(BROKEN_CELLS)
        lines.append(delimiter.join(cells))
    end = rng.choice(["\n", "\r\n", "\r", "\n\n"])
    mark = rng.choice(["", "\ufeff"])
    return (mark + end.join(lines) + rng.choice(["", end])).encode()


def as_blocks_give(config, block_bytes):
    rows = []
    try:
        for table in read_csv(config, block_bytes):
            table.validate(full=True)
            rows += [[row["image"], row["label"] or ""] for row in table.to_pylist()]
    except PreprocessingError as error:
        return str(error)
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_blocks_of_any_size_give_what_python_reads(write, seed):
    rng = random.Random(seed)
    for _ in range(60):
        width = rng.choice([1, 2, 3])
        delimiter = rng.choice(",;\t|\\")
        content = random_file(rng, width, delimiter)
        expected = as_python_reads(content, delimiter)
        at = min(width - 1, 1)  # Image and label may be one column.
        if isinstance(expected, list):
            expected = [[cells[0], cells[at]] for cells in expected]
        config = CatalogConfig(
            path=str(write(content)),
            image_column="a",
            label_column="ab"[at],
            confidence_column=None,
            delimiter=delimiter,
        )
        for block_bytes in (1, 9, 30, MAX_FIELD_BYTES):
            given = as_blocks_give(config, block_bytes)
            if isinstance(expected, str):
                assert expected in given, (content, block_bytes)
            else:
                assert given == expected, (content, block_bytes)
