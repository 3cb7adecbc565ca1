"""Lists that were printed into a cell, as their own programs print them."""

import collections
import json

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.catalogs.label_lists import ListForm, NotAListError, read_lists

ODD = ["it's", 'say "so"', "back\\slash", "a, b", "[x]", "é 🐢", "tab\there", " spaced ", "{}", "-"]


def read(text, form):
    return read_lists(pa.array([text], pa.string()), form).to_pylist()[0]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('["haze", "primary"]', ["haze", "primary"]),
        ('["haze","clear sky"]', ["haze", "clear sky"]),
        (' [ "haze" ] ', ["haze"]),
        ("[]", []),
        ("null", None),
        ("NaN", None),
        ("", None),
        ('["haze", null, NaN]', ["haze", None, None]),
        ("[3, 17]", ["3", "17"]),
        ('"haze"', ["haze"]),
        ('["a\\"b", "\\u00e9"]', ['a"b', "é"]),
    ],
)
def test_json(text, labels):
    assert read(text, ListForm.JSON) == labels


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("['haze', 'primary']", ["haze", "primary"]),
        ("['haze']", ["haze"]),
        ("[]", []),
        ("set()", []),
        ("nan", None),
        ("None", None),
        ("<NA>", None),
        ("[None, nan, 'haze']", [None, None, "haze"]),
        ("['haze' 'primary'\n 'clear']", ["haze", "primary", "clear"]),
        ("[np.str_('haze'), np.str_('primary')]", ["haze", "primary"]),
        ("[np.int64(3), np.int64(17)]", ["3", "17"]),
        ('{haze,"clear sky",water}', ["haze", "clear sky", "water"]),
        ("{}", []),
        ("[haze, clear sky]", ["haze", "clear sky"]),
        ("[3 17  5]", ["3", "17", "5"]),
        ("('haze',)", ["haze"]),
        ('["haze", "primary"]', ["haze", "primary"]),
    ],
)
def test_lists_as_programs_print_them(text, labels):
    assert read(text, ListForm.LIST) == labels


@pytest.mark.parametrize(
    "kind", [list, tuple, frozenset, set, np.array, lambda labels: repr(np.array(labels))]
)
def test_whatever_python_prints_comes_back(kind):
    text = str(kind(ODD))
    assert collections.Counter(read(text, ListForm.LIST)) == collections.Counter(ODD)


def test_whatever_json_prints_comes_back():
    for ascii_only in (True, False):
        assert read(json.dumps(ODD, ensure_ascii=ascii_only), ListForm.JSON) == ODD


@pytest.mark.parametrize(
    ("text", "form", "hint"),
    [
        ("['haze']", ListForm.JSON, "list"),
        ("{haze,water}", ListForm.JSON, "list"),
        ('"haze"', ListForm.LIST, "what"),
        ("haze|primary", ListForm.JSON, "what stands between the labels"),
        ("haze", ListForm.LIST, "what stands between the labels"),
        ('["haze"', ListForm.JSON, "what"),
        ('[["haze"]]', ListForm.JSON, "what"),
        ('{"haze": 0.5}', ListForm.JSON, "what"),
        ("[true]", ListForm.JSON, "list"),
        ("[" * 100_000, ListForm.JSON, "what"),
        ("['haze'", ListForm.LIST, "what"),
        ("['haze' 'primary' ... 'water']", ListForm.LIST, "what"),
        ("[1, 2, ..., 9]", ListForm.LIST, "what"),
        ("[['haze']]", ListForm.LIST, "what"),
        ("{'haze': 1}", ListForm.LIST, "what"),
        ("['haze''primary']", ListForm.LIST, "what"),
        ("['haze'] + []", ListForm.LIST, "what"),
        ("[cat's]", ListForm.LIST, "what"),
    ],
)
def test_what_is_no_list_is_told(text, form, hint):
    """Python itself makes one label of two that NumPy prints beside each other."""
    texts = pa.array(["[]", "[]", text, text])
    with pytest.raises(NotAListError) as error:
        read_lists(texts, form)
    assert error.value.row == 2
    assert error.value.hint.startswith(hint)
    assert text[:100].strip("'\"") in str(error.value).replace("\\'", "'")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("text", "form"), [(r'["\ud800"]', ListForm.JSON), (r"['\ud800']", ListForm.LIST)]
)
def test_half_a_character_is_no_text(text, form):
    with pytest.raises(NotAListError, match="ud800"):
        read_lists(pa.array([text]), form)


def test_plain_and_odd_lists_stay_in_order():
    texts = pa.array(["['a', 'b']", None, "('c',)", "['d']", "('c',)", "[]"]).slice(0, 6)
    assert read_lists(texts, ListForm.LIST).to_pylist() == [
        ["a", "b"],
        None,
        ["c"],
        ["d"],
        ["c"],
        [],
    ]
    assert read_lists(texts.slice(3, 1), ListForm.LIST).to_pylist() == [["d"]]
    assert read_lists(texts.slice(0, 0), ListForm.LIST).to_pylist() == []
