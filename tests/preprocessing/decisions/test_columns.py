"""Working on columns, also of slices and of nothing."""

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.decisions.columns import (
    column,
    concat,
    digest_bytes,
    encode,
    flatten,
    found_in,
    hex_texts,
    map_distinct,
    numbers,
    replace_column,
    run_starts,
    unflatten,
)


def test_texts_as_numbers_of_texts():
    distinct, codes = encode(pa.array(["b", None, "a", "b"]))
    assert (distinct.to_pylist(), codes.tolist()) == (["b", "a"], [0, -1, 1, 0])


def test_a_function_is_called_once_for_equal_texts():
    called = []

    def shout(text):
        called.append(text)
        return text.upper()

    mapped = map_distinct(pa.array(["a", None, "b", "a"]), shout, pa.string())
    assert mapped.to_pylist() == ["A", None, "B", "A"]
    assert sorted(called) == ["a", "b"]


@pytest.mark.parametrize(
    ("keys", "starts"),
    [
        (([],), []),
        (([3],), [0]),
        (([1, 1, 2, 2, 2, 5],), [0, 2, 5]),
        (([1, 1, 1], [4, 4, 5]), [0, 2]),
    ],
)
def test_runs(keys, starts):
    assert run_starts(*(np.array(key, np.uint64) for key in keys)).tolist() == starts


@pytest.mark.parametrize("rows", [slice(0, 4), slice(1, 4), slice(2, 2)])
def test_lists_are_flattened_and_put_together_again(rows):
    lists = pa.array([["a"], [], ["b", "c"], []])[rows]
    owners, values = flatten(lists)
    assert unflatten(owners, values, len(lists)).to_pylist() == lists.to_pylist()


def test_looking_up_in_what_is_sorted():
    known = np.array([2, 4, 8], np.uint64)
    hits, places = found_in(np.array([8, 3, 2, 9], np.uint64), known)
    assert hits.tolist() == [True, False, True, False]
    assert places[hits].tolist() == [2, 0]
    assert found_in(np.array([1]), np.empty(0, np.int64))[0].tolist() == [False]


def test_digests_as_bytes_and_digits():
    digests = [bytes(range(start, start + 16)) for start in (0, 100, 240)]
    table = pa.table({"digest": pa.array(digests, pa.binary(16))})
    assert hex_texts(digest_bytes(table)).to_pylist() == [each.hex() for each in digests]
    assert hex_texts(digest_bytes(table.slice(1, 1))).to_pylist() == [digests[1].hex()]
    assert hex_texts(digest_bytes(table.slice(3))).to_pylist() == []


def test_tables_of_many_chunks():
    table = pa.concat_tables([pa.table({"a": [1, 2]}), pa.table({"a": [3]})])
    assert column(table, "a").to_pylist() == numbers(table, "a").tolist() == [1, 2, 3]
    assert concat([table, table])["a"].num_chunks == 1
    assert replace_column(table, "a", pa.array(["x", "y", "z"])).to_pydict() == {"a": list("xyz")}
