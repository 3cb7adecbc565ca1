"""CSV: any text, quotes, delimiters, encodings and bytes; the same rows in blocks of any size."""

import csv
import gzip
import io
from typing import Any

from hypothesis import strategies as st

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.csv_file import read_csv
from manylabel.preprocessing.errors import PreprocessingError
from tests.fuzz._catalogs import read_catalog
from tests.fuzz._damage import damaged
from tests.fuzz._target import ACCEPTED, Target, fuzz

HEADER = ["image_path", "label", "confidence", "author"]
ROWS = [
    ["a.jpg", "cat", "1", "x"],
    ["b/b.png", "dog|owl", "0.5", ""],
    ["c c.jpg", 'say "hi", é', "0", "y"],
]
CELLS = (
    "",
    " ",
    "cat",
    "dog|owl",
    '["cat", "dog"]',
    "['cat' 'dog']",
    "{cat,dog}",
    "1",
    "0.5",
    "1e400",
    "nan",
    "-1",
    "yes",
    "0.5|1",
)
_odd_cells = st.sampled_from(
    (*CELLS, "x" * 70_000, "\0", "a\nb", "a\r", '"', '""', "\ufeff", "\u2028", "../x", "NA")
) | st.text(max_size=5)


def _written(rows, dialect, encoding, packed):
    file = io.StringIO(newline="")
    csv.writer(file, **dialect).writerows(rows)
    data = file.getvalue().encode(encoding, "surrogatepass" if encoding == "utf-8" else "replace")
    return gzip.compress(data, mtime=0) if packed else data


_dialects = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from((",", ",", ";", "\t", "|", " ")),
        "lineterminator": st.sampled_from(("\n", "\r\n", "\r", "\n\n")),
        "quoting": st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)),
        "doublequote": st.just(True),
    }
)
_encodings = st.sampled_from(("utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"))
_rows = st.lists(
    st.lists(_odd_cells, min_size=3, max_size=5) | st.tuples(*[_odd_cells] * 4).map(list),
    max_size=6,
)
_texts = st.builds(
    _written,
    st.builds(
        lambda header, rows: [*header, *rows],
        st.sampled_from(([HEADER], [HEADER], [], [HEADER[:2]])),
        _rows,
    ),
    _dialects,
    _encodings,
    st.booleans(),
)
FILES = [
    _written([HEADER, *ROWS], {"delimiter": delimiter, "lineterminator": "\n"}, "utf-8", packed)
    for delimiter, packed in ((",", False), (";", False), ("\t", False), (",", True))
]
WORDS = (
    b'"',
    b'""',
    b",",
    b";",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"sep=;\n",
    b"\x1f\x8b",
    b"\x1a",
)
SETTINGS = st.sampled_from(
    (
        {},
        {"label_separator": "|"},
        {"label_separator": "json"},
        {"label_separator": "list"},
        {"label_separator": " "},
        {"confidence_column": None},
        {"header": False},
        {"header": False, "confidence_column": "2"},
        {"delimiter": "|"},
        {"group_column": "author"},
        {"split_column": "author", "split": "x"},
        {"label_columns": ["label", "author"], "label_cells": "names"},
        {"label_columns": ["conf*"], "label_zeros": "absent"},
        {"image_suffix": ".jpg", "null_values": ["NA", -1]},
        {"image_column": "label", "label_column": "image_path"},
    )
)
CASES = st.tuples(damaged(FILES, WORDS) | _texts, SETTINGS)
SOUND: list[Any] = [(data, {}) for data in FILES]


def check(case, folder):
    data, settings = case
    verdict, rows = read_catalog("labels.csv", data, settings, folder)
    if verdict == ACCEPTED:
        config = CatalogConfig.model_validate({"path": str(folder / "labels.csv"), **settings})
        assert in_blocks(config, 50) == rows
    return verdict


def in_blocks(config, size):
    try:
        return [
            row
            for table in read_csv(config, size)
            for row in zip(*(table.column(at).to_pylist() for at in range(3)), strict=True)
        ]
    except PreprocessingError as error:
        return str(error)


TARGET = Target("csv", CASES, check)


def test_csv(tmp_path):
    fuzz(TARGET, tmp_path / "case", 120, sound=SOUND)
