"""JSON lines: any values under any keys, damaged lines."""

import json
from typing import Any

from hypothesis import strategies as st

from tests.fuzz._catalogs import read_catalog
from tests.fuzz._damage import damaged
from tests.fuzz._edits import edited, to_json
from tests.fuzz._target import Target, fuzz

ROWS = [
    {"image_path": "a.jpg", "label": "cat", "confidence": 1, "author": "x"},
    {"image_path": "b.jpg", "label": ["dog", "owl"], "confidence": [0.5, 0], "author": None},
    {"image_path": "é.jpg", "label": "dog", "author": "y"},
]
FILES = [b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)]
WORDS = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\ud800",
    b"NaN",
    b"1e999",
    b"\n",
    b"\0",
    b"\xff",
    b"null",
    b"9" * 5000,
)
SETTINGS = st.sampled_from(
    [
        {},
        {"label_separator": "|"},
        {"confidence_column": None},
        {"group_column": "author"},
        {"label_columns": ["label"], "label_cells": "names"},
        {"split_column": "author", "split": "x"},
    ]
)


def _lines(rows):
    return b"\n".join(to_json(row).replace(b"\n", b"") for row in rows)


CASES = st.tuples(damaged(FILES, WORDS) | edited([ROWS]).map(_lines), SETTINGS)
SOUND: list[Any] = [(data, {}) for data in FILES]


def check(case, folder):
    data, settings = case
    return read_catalog("labels.jsonl", data, settings, folder)[0]


TARGET = Target("json_lines", CASES, check)


def test_json_lines(tmp_path):
    fuzz(TARGET, tmp_path / "case", 80, sound=SOUND)
