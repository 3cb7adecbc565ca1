"""JSON lines: values of every type, keys that are not everywhere, and what is no object a line."""

import json

import pyarrow as pa
import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.json_lines import MOST_KEYS, read_json_lines
from manylabel.preprocessing.errors import PreprocessingError


@pytest.fixture
def write(tmp_path):
    def write(*lines):
        path = tmp_path / "c.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("\n".join(texts), "utf-8", newline="")
        return path

    return write


@pytest.fixture
def read(write, rows_of):
    """read(line, ..., setting=...): the rows, or the error without the path."""

    def read(*lines, **settings):
        path = write(*lines)
        try:
            return rows_of(path, **settings)
        except PreprocessingError as error:
            return str(error).removeprefix(f"{path}: ")

    return read


def row(label, **more):
    return {"image_path": "a.jpg", "label": label, "confidence": 1} | more


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("cat", ["cat"]),
        ("", [None]),
        (None, [None]),
        (7, ["7"]),
        (2.50, ["2.5"]),
        (True, ["true"]),
        (["cat", "dog"], ["cat", "dog"]),
        ([7, None, "dog", False], ["7", "dog", "false"]),
        ([], [None]),
        ('\U0001f422 żółw, "x"\nline', ['\U0001f422 żółw, "x"\nline']),
        ("2024-01-01", ["2024-01-01"]),
    ],
)
def test_values_of_every_type(read, label, expected):
    assert [found for _, found, _, _ in read(row(label))] == expected


def test_numbers_are_kept_as_they_are_spelled(read):
    line = '{"image_path": 12, "label": 1.50, "confidence": 5e-1, "who": 123456789012345678901}'
    assert read(line, group_column="who") == [("12", "1.50", "5e-1", "123456789012345678901")]


def test_a_text_and_a_list_may_take_turns(read):
    rows = read(row("cat"), row(["dog", "owl"]), row(None), row("emu"))
    assert [label for _, label, _, _ in rows] == ["cat", "dog", "owl", None, "emu"]


def test_confidences_beside_lists(read):
    rows = read(row(["cat", "dog"], confidence=[0.5, 1]), row(["owl", "emu"], confidence=0.25))
    assert [(label, float(number)) for _, label, number, _ in rows] == [
        ("cat", 0.5),
        ("dog", 1.0),
        ("owl", 0.25),
        ("emu", 0.25),
    ]


def test_lists_need_no_confidence(read):
    rows = read({"image_path": "a.jpg", "label": ["cat", "dog"]})
    assert [(label, float(number)) for _, label, number, _ in rows] == [("cat", 1), ("dog", 1)]


def test_keys_may_be_missing_and_stand_in_any_order(read):
    lines = (
        {"label": "cat", "image_path": "a.jpg"},
        {"image_path": "b.jpg"},
        {"label": "dog", "who": "ann"},
        {"confidence": 0.5, "image_path": "c.jpg", "label": "owl"},
    )
    assert read(*lines, group_column="who") == [
        ("a.jpg", "cat", "", None),
        ("b.jpg", None, "", None),
        ("", "dog", "", "ann"),
        ("c.jpg", "owl", "0.5", None),
    ]


def test_a_wide_table_whose_keys_come_late(write, monkeypatch):
    """Keys of labels that the first block lacks are labels too."""
    path = write({"image_path": "a", "cat": 1}, {"image_path": "b", "dog": True, "cat": 0})
    config = CatalogConfig(path=str(path), label_columns=["*"])
    tables = [table.to_pylist() for table in read_json_lines(config, block_bytes=1)]
    labels = [(row["image"], row["label"]) for table in tables for row in table]
    assert labels == [("a", "cat"), ("b", "dog")]


def test_blank_lines_ends_of_all_kinds_and_a_byte_order_mark(read):
    line = json.dumps(row("cat"))
    assert len(read(f"\ufeff{line}\r", "", "  ", f"{line}\r", line)) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("image_path,label", "expected a JSON object on a line of its own, received 'image_path,l"),
        ('["a.jpg", "cat"]', "expected a JSON object on a line of its own, received '["),
        ('"a.jpg"', "expected a JSON object"),
        ('{"image_path": "a.jpg",', "write each object on one line, e.g. with jq -c"),
        ("{'image_path': 'a.jpg'}", "expected a JSON object"),
        ('{"a": 1} {"b": 1}', "(Extra data)"),
        ("[" * 100_000, "(it is nested too deep)"),
        (row({"name": "cat"}), "'label': expected text, a number or a list of them, received an"),
        (row([{"name": "cat"}]), "an object with the keys ['name']"),
        (row([["cat"]]), "received a list of lists"),
        (row("\ud800"), "'label': expected text, received half of a surrogate pair"),
        (row(["cat", "\ud800"]), "'label': expected text, received half of a surrogate pair"),
    ],
)
def test_what_is_not_read_is_told_with_its_line(read, line, message):
    told = read(row("cat"), "", line)
    assert told.startswith("line 3: ")
    assert message in told
    assert len(told) < 500


def test_text_that_is_not_utf8(tmp_path, rows_of):
    (tmp_path / "c.jsonl").write_bytes('{"image_path": "café"}'.encode("latin-1"))
    with pytest.raises(PreprocessingError, match="line 1: expected UTF-8, received byte 0xe9; con"):
        rows_of(tmp_path / "c.jsonl")


def test_a_key_that_no_object_has(read):
    told = read({"image_path": "a.jpg", "tags": ["cat"]})
    assert "expected a column 'label', received columns ['image_path', 'tags']" in told


def test_a_key_inside_of_an_object_is_told(read):
    told = read({"image_path": "a.jpg", "annotation": {"label": "cat"}})
    assert "there is one inside of 'annotation'" in told


def test_data_in_the_place_of_names(read):
    told = read({"image_path": "a.jpg"} | {str(number): 0 for number in range(MOST_KEYS)})
    assert told == "line 1: expected at most 100,000 different keys"


def test_a_line_without_end_is_given_up(tmp_path, rows_of):
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"{")
    with path.open("r+b") as file:
        file.truncate(100 << 20)
    with pytest.raises(PreprocessingError, match="line 1: expected at most 16777216 bytes"):
        rows_of(path)


def test_an_empty_file(tmp_path, rows_of):
    (tmp_path / "c.jsonl").touch()
    with pytest.raises(
        PreprocessingError, match="expected columns 'image_path' and 'label', received an empty"
    ):
        rows_of(tmp_path / "c.jsonl")


def test_lists_and_single_confidences_in_any_order(tmp_path):
    """Blocks of one table are joined, whatever kind of confidence each has."""
    path = tmp_path / "c.jsonl"
    lines = [
        '{"image_path": "a", "label": ["x", "y"], "confidence": [0.5, 1]}',
        '{"image_path": "b", "label": ["x", "y"], "confidence": 0.25}',
        '{"image_path": "c", "label": "x", "confidence": ["0.1"]}',
        '{"image_path": "d", "label": ["x", "y"], "confidence": [0.5, 1, 1]}',
    ]
    path.write_text("\n".join(lines))
    config = CatalogConfig(path=str(path))
    table = pa.concat_tables(read_json_lines(config, block_bytes=1))
    assert table.select(["image", "label", "confidence"]).to_pylist() == [
        {"image": "a", "label": "x", "confidence": "0.5"},
        {"image": "a", "label": "y", "confidence": "1"},
        {"image": "b", "label": "x", "confidence": "0.25"},
        {"image": "b", "label": "y", "confidence": "0.25"},
        {"image": "c", "label": "x", "confidence": "0.1"},
        {"image": "d", "label": "x", "confidence": "a list of another length"},
        {"image": "d", "label": "y", "confidence": "a list of another length"},
    ]


@pytest.mark.parametrize(
    ("line", "settings", "name"),
    [
        ('{"image_path": ["a"], "label": "x"}', {}, "image_path"),
        ('{"image_path": "a", "label": "x", "who": ["ann"]}', {"group_column": "who"}, "who"),
        ('{"image_path": "a", "cat": [1, 0]}', {"label_columns": ["*"]}, "cat"),
    ],
)
def test_lists_where_one_value_is_to_be(tmp_path, rows_of, line, settings, name):
    path = tmp_path / "c.jsonl"
    path.write_text(f'{{"image_path": "z", "label": "y", "who": "bob"}}\n{line}\n')
    with pytest.raises(PreprocessingError, match=f"line 2: '{name}': expected text or a number"):
        rows_of(path, **settings)
