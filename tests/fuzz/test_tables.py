"""A dataset's indexes and tables: damaged bytes, and odd values in the right columns."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from tests.fuzz._damage import damaged
from tests.fuzz._datasets import read_all, sound_dataset, write
from tests.fuzz._tables import no_text, to_parquet
from tests.fuzz._target import Target, fuzz

pytestmark = pytest.mark.slow

FILES = sound_dataset()
TABLES = sorted(path for path in FILES if path.endswith(".parquet") and not path.startswith("plan"))
_INTEGERS = st.integers(-3, 5) | st.integers(-(2**63), 2**63 - 1)
_TEXTS = st.sampled_from(("0.png", "train", "cat", "", "\0", "x" * 5000)) | st.text(max_size=5)
_LISTS = st.lists(_INTEGERS | st.none(), max_size=4)
_VALUES = {
    pa.int64(): _INTEGERS,
    pa.string(): _TEXTS,
    pa.float64(): st.floats(),
}


@st.composite
def _edited(draw):
    """A table of the dataset with its own columns and metadata, in which some cells are others."""
    path = draw(st.sampled_from(TABLES))
    table = pq.read_table(io.BytesIO(FILES[path]))
    for place in draw(st.lists(st.integers(0, table.num_columns - 1), max_size=3, unique=True)):
        field, values = table.schema.field(place), table.column(place).to_pylist()
        for row in draw(st.lists(st.integers(0, max(0, len(values) - 1)), max_size=3)):
            if row < len(values):
                values[row] = draw(_VALUES.get(field.type, _LISTS))
        column = pa.array(values, field.type)
        if field.type == pa.string() and not draw(st.integers(0, 3)):
            column = no_text(column)
        table = table.set_column(place, field, column)
    if draw(st.booleans()) and table.num_rows:
        rows = draw(st.lists(st.integers(0, table.num_rows - 1), max_size=6))
        table = table.take(pa.array(rows, pa.int64()))
    return path, to_parquet(table)


CASES = (
    st.tuples(st.sampled_from(TABLES), damaged([FILES[path] for path in TABLES], (b"PAR1",)))
    | _edited()
)


def check(case, folder):
    path, data = case
    write(folder, FILES | {path: data})
    return read_all(folder)


SOUND = [(path, FILES[path]) for path in TABLES]
TARGET = Target("tables", CASES, check)


def test_tables(tmp_path):
    fuzz(TARGET, tmp_path / "case", 35, sound=SOUND)
