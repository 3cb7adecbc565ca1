"""What stands between the cells of a CSV, and tables without a header."""

import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.csv_file import read_csv
from manylabel.preprocessing.errors import PreprocessingError


@pytest.fixture
def read(tmp_path, rows_of):
    """read(text, setting=...): image and label of each row, or the error without the path."""

    def read(text, name="c.csv", **settings):
        path = tmp_path / name
        path.write_text(text, newline="")
        try:
            return [row[:2] for row in rows_of(path, **{"confidence_column": None} | settings)]
        except PreprocessingError as error:
            return str(error).removeprefix(f"{path}: ")

    return read


@pytest.mark.parametrize(
    "header",
    [
        "image_path{}label{}n",
        "n{}image_path{}label",
        '"image_path"{}"label"{}n',
        '\ufeffimage_path{}"label"{}"a{}b"',
        '"two\nlines"{}image_path{}label',
        "\n\nimage_path{}label{}n",
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found_from_the_header(read, header, delimiter):
    """Also where a name of another column holds one, and cells hold all others."""
    cells = {"image_path": "a.jpg", "label": '"x,y;z\t|"'}
    names = header.replace('"', "").replace("\ufeff", "").strip().split("{}")[:3]
    row = delimiter.join(cells.get(name, "0") for name in names)
    text = f"{header.replace('{}', delimiter)}\n{row}\n"
    assert read(text) == [("a.jpg", "x,y;z\t|")]


def test_a_name_with_more_delimiters_of_another_kind_than_there_are_columns(read):
    text = "image_path;label;a,b,c,d|e|f|g|h\na.jpg;cat;1,2,3\n"
    assert read(text) == [("a.jpg", "cat")]


@pytest.mark.parametrize("header", ["image_path,label", "label,image_path"])
def test_labels_joined_by_bars_do_not_make_the_bar_a_delimiter(read, header):
    cells = {"image_path": "a.jpg", "label": "haze|primary|water"}
    row = ",".join(cells[name] for name in header.split(","))
    assert read(f"{header}\n{row}\n") == [("a.jpg", "haze|primary|water")]


def test_a_header_of_one_column(read):
    assert read("image_path\na.jpg|x;y\n", label_column="image_path") == [("a.jpg|x;y",) * 2]
    assert "received columns ['image_path']" in read("image_path\na.jpg,cat\n")


def test_columns_that_are_called_otherwise_are_shown_cut(read):
    assert "received columns ['file', 'tags', 'n']" in read("file;tags;n\na.jpg;cat;1\n")


@pytest.mark.parametrize("spelled", [";", "^", "\t", "\\t", "tab", " "])
def test_a_delimiter_is_a_setting(read, spelled):
    character = {"tab": "\t", "\\t": "\t"}.get(spelled, spelled)
    text = f"image_path{character}label\na.jpg{character}x,y|z\n"
    assert read(text, delimiter=spelled) == [("a.jpg", "x,y|z")]


@pytest.mark.parametrize("delimiter", ["", "::", '"', "\n", "é"])
def test_what_is_no_delimiter(delimiter):
    with pytest.raises(ValueError, match="expected one character of ASCII"):
        CatalogConfig(path="c.csv", delimiter=delimiter)


@pytest.mark.parametrize("line", ["sep=;\r\n", '"sep=;"\n'])
def test_excel_s_note_on_the_delimiter(read, line):
    text = f"{line}image_path;label\na.jpg;x,y\n"
    assert read(text) == [("a.jpg", "x,y")]
    assert read(text + "b.jpg\n").startswith("line 4: expected 2 cells")


def test_without_a_header_columns_go_by_number(read):
    assert read("a.jpg,cat\nb.jpg,dog\n", header=False) == [("a.jpg", "cat"), ("b.jpg", "dog")]
    text = "cat,7,a.jpg\ndog,8,b.jpg\n"
    expected = [("a.jpg", "cat"), ("b.jpg", "dog")]
    assert read(text, header=False, image_column=2, label_column=0) == expected
    assert read(text, header=False, image_column="2", label_column="0") == expected


def test_without_a_header_a_third_column_may_be_the_confidence(read):
    text = "a.jpg,cat,0.5\n"
    assert "set preprocessing.catalog.confidence_column to the number" in read(
        text, header=False, confidence_column="confidence"
    )
    assert read(text, header=False, confidence_column=None) == [("a.jpg", "cat")]


def test_a_confidence_by_its_number(tmp_path, rows_of):
    (tmp_path / "c.csv").write_text("a.jpg,cat,0.5\n")
    rows = rows_of(tmp_path / "c.csv", header=False, confidence_column=2)
    assert rows == [("a.jpg", "cat", "0.5", None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,cat\nb.jpg\n", "line 2: expected 2 cells as in the first row, received 1"),
        ("a.jpg\n", "expected a column '1', received columns ['0']"),
    ],
)
def test_rows_that_do_not_fit_without_a_header(read, text, message):
    assert message in read(text, header=False)


def test_a_number_that_is_no_column(read):
    message = read("a.jpg,cat\n", header=False, label_column=2)
    assert "expected a column '2', received columns ['0', '1']" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.jpg\tcat, dog\nb.jpg\tcat, owl\n", "cat, dog"),
        ("a.jpg;cat, dog\nb.jpg;cat\n", "cat, dog"),
        ("a.jpg,haze|primary|water\nb.jpg,haze|clear|road\n", "haze|primary|water"),
        ("a.jpg|cat\nb.jpg|owl\n", "cat"),
    ],
)
def test_delimiters_are_found_without_a_header(read, text, expected):
    assert read(text, header=False)[0] == ("a.jpg", expected)


@pytest.mark.parametrize("row", ["img/000.jpg,cat", "7,IMG_1.JPEG,cat", "a.png\tcat"])
def test_a_missing_header_is_told_as_one(read, row):
    """Not as a column to be called like a picture."""
    message = read(f"{row}\n{row}\n")
    assert message.startswith("line 1: expected a header, received a row with ")
    assert "set preprocessing.catalog.header to false" in message


def test_numbers_are_names_where_there_is_a_header(read):
    assert read("0,1\na.jpg,cat\n", image_column=0, label_column=1) == [("a.jpg", "cat")]


def test_an_empty_table_without_a_header(read):
    assert read("", header=False) == []


@pytest.mark.parametrize("setting", [{"delimiter": ";"}, {"header": False}])
def test_settings_of_csv_are_refused_elsewhere(read, setting):
    message = read('{"image_path": "a.jpg", "label": "x"}', name="c.jsonl", **setting)
    assert "which is for CSV, but the catalog's format is jsonl" in message


@pytest.mark.parametrize("label", ["x" * 200_000, "two\nlines " * 200_000])
def test_a_long_first_row_without_a_header_is_a_row(tmp_path, label):
    """Also one that is longer than a block, or than cells usually are."""
    (tmp_path / "c.csv").write_text(f'a.jpg,"{label[:1_000_000]}"\nb.jpg,cat\n', newline="")
    config = CatalogConfig(path=str(tmp_path / "c.csv"), header=False)
    for block_bytes in (100, 1 << 20):
        labels = [
            row["label"] for table in read_csv(config, block_bytes) for row in table.to_pylist()
        ]
        assert labels == [label[:1_000_000], "cat"]
