"""Parquet catalogs: columns of any type and form, damaged footers and pages."""

from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tests.fuzz._catalogs import read_catalog
from tests.fuzz._damage import damaged
from tests.fuzz._tables import no_text, parquet, tables, to_parquet
from tests.fuzz._target import Target, fuzz

NAMES = ("image_path", "label", "confidence", "author")
PLAIN = pa.table(
    {"image_path": ["a.jpg", "b.jpg"], "label": ["cat", "dog"], "confidence": [1.0, 0.5]}
)
LISTS = pa.table(
    {
        "image_path": ["a.jpg", "b.jpg"],
        "label": [["cat"], ["dog", "owl"]],
        "confidence": [[1.0], [0.5, 0.0]],
    }
)
FILES = [
    to_parquet(PLAIN),
    to_parquet(LISTS, compression="zstd"),
    to_parquet(PLAIN, row_group_size=1, use_dictionary=False, compression="none"),
    to_parquet(LISTS, write_page_checksum=True, data_page_version="2.0"),
    to_parquet(PLAIN.set_column(1, "label", PLAIN["label"].dictionary_encode())),
]


@st.composite
def _edited(draw):
    """Two sound columns and an odd one."""
    table = draw(st.sampled_from((PLAIN, LISTS)))
    odd = draw(tables(NAMES))
    for name in set(odd.column_names) & set(NAMES[: draw(st.integers(0, 2))]):
        place = table.column_names.index(name)
        column = odd.column(odd.column_names.index(name)).slice(0, 2)
        if len(column) == 2:
            table = table.set_column(place, name, column)
    if draw(st.booleans()):
        table = table.set_column(0, "image_path", no_text(PLAIN["image_path"].combine_chunks()))
    return table


SETTINGS = st.sampled_from(
    [
        {},
        {"label_separator": "|"},
        {"label_separator": "json"},
        {"confidence_column": None},
        {"group_column": "author"},
        {"label_columns": ["label"]},
        {"label_columns": ["label"], "label_cells": "names"},
        {"split_column": "author", "split": "1"},
        {"image_suffix": ".jpg"},
    ]
)
CASES = st.tuples(
    damaged(FILES, (b"PAR1",)) | parquet(tables(NAMES)) | parquet(_edited()), SETTINGS
)
SOUND: list[Any] = [(data, {}) for data in FILES]


def check(case, folder):
    data, settings = case
    return read_catalog("labels.parquet", data, settings, folder)[0]


TARGET = Target("parquet", CASES, check)


def test_parquet(tmp_path):
    fuzz(TARGET, tmp_path / "case", 50, sound=SOUND)
