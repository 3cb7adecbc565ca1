"""What the files of a sample are called, and what labels they say."""

import json

import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.sample_files import (
    LabelsError,
    json_keys,
    parse_labels,
    split_name,
)
from manylabel.preprocessing.webdataset_config import WebDatasetConfig


def labels_of(content, extension="json", *, catalog=None, key=""):
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    webdataset = WebDatasetConfig(labels=extension, label_key=key if "json" in extension else None)
    config = CatalogConfig(path="x", webdataset=webdataset, **catalog or {})
    return parse_labels(content, extension, config)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", ("a", "jpg")),
        ("v1.0/n/a.left.JPG", ("v1.0/n/a", "left.jpg")),
        ("a b\n.cls", ("a b\n", "cls")),
        ("22.05.png", ("22", "05.png")),
        (".hidden.jpg", None),
        ("a/._a.jpg", None),
        ("no-dot", None),
        ("v1.0/no-dot", None),
        ("ends.", None),
    ],
)
def test_a_key_ends_at_the_first_dot_of_the_file_s_name(name, expected):
    assert split_name(name) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("sea", {"sea": 1.0}),
        (["sea", "sky"], {"sea": 1.0, "sky": 1.0}),
        ([7, 8], {"7": 1.0, "8": 1.0}),
        ([0, 1], {"0": 1.0, "1": 1.0}),
        (7.0, {"7": 1.0}),
        ({"sea": 0.25, "sky": 1, "fog": False}, {"sea": 0.25, "sky": 1.0, "fog": 0.0}),
        ([" sea ", "", None], {"sea": 1.0}),
        ({"sea": 1.5}, {"sea": 1.5}),  # Counted later.
        ({"sea": 10**400}, {"sea": float("inf")}),
        (None, {}),
        (float("nan"), {}),
        ([], {}),
    ],
)
def test_forms_of_json(value, expected):
    assert labels_of(value) == list(expected.items())


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("/a/1/b~1c", "deep"),
        ("/~0", "tilde"),
        ("a/b", "plain"),
        ("/a/9", None),
        ("/a/b", None),
        ("c", None),
    ],
)
def test_keys_and_pointers(key, expected):
    value = {"a": [0, {"b/c": "deep"}], "~": "tilde", "a/b": "plain"}
    assert labels_of(value, key=key) == ([(expected, 1.0)] if expected else [])


@pytest.mark.parametrize(
    ("content", "catalog", "expected"),
    [
        (b"7", {}, ["7"]),
        (b"\xef\xbb\xbfsea | sky\r\n\r\n fog \n", {}, ["sea | sky", "fog"]),
        (b"sea | sky |\nfog", {"label_separator": "|"}, ["sea", "sky", "fog"]),
        (b"sea\nfog\n-1", {"null_values": [-1, "fog"]}, ["sea"]),
        (b"['sea', 'sky']", {"label_separator": "list"}, ["sea", "sky"]),
        (b'["sea", "sky"]', {"label_separator": "json"}, ["sea", "sky"]),
        (b"", {}, []),
    ],
)
def test_forms_of_text(content, catalog, expected):
    assert labels_of(content, "txt", catalog=catalog) == [(name, 1.0) for name in expected]


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        (b"{", "", "expected JSON: "),
        (b"[" * 100_000, "", "expected JSON: "),
        (b"9" * 5000, "", "expected JSON: "),
        ([["a"]], "", "expected the name of a label, received ['a']"),
        (0.5, "", "expected the name of a label, received 0.5"),
        (True, "", "expected the name of a label, received True"),
        ({"a": "b"}, "", "expected a confidence of 'a', received 'b'"),
        ([0, 1, 0, 0], "", "expected the labels of the picture alone, by name or number, received"),
        ([True, False, True], "", "expected the labels of the picture alone"),
        (b'["\\ud800"]', "", "half a character"),
        (
            {"tags": [], "url": 1},
            None,
            "set preprocessing.catalog.webdataset.label_key to the key of the labels, one of tags, "
            "url, or to '' if all keys are labels",
        ),
    ],
)
def test_what_is_no_label(content, key, message):
    with pytest.raises(LabelsError) as error:
        labels_of(content, key=key)
    assert message in str(error.value)


def test_a_text_that_is_no_list_where_one_is_to_be():
    with pytest.raises(LabelsError, match="expected a JSON list of texts, received"):
        labels_of(b"{sea}", "txt", catalog={"label_separator": "json"})


@pytest.mark.parametrize(
    ("content", "expected"), [(b'{"a": 1, "b": 2}', ["a", "b"]), (b"[1]", []), (b"{", [])]
)
def test_keys_for_a_hint(content, expected):
    assert json_keys(content) == expected
