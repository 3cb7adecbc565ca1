"""YAML as people write it: what it says, or one line about what is wrong."""

import pytest
import yaml

from manylabel.storage.yaml_text import YamlError, parse_yaml


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}",
        "a: &a {x: 1}\nb: &b {y: 2}\nc: {<<: [*a, *b], z: 3}",
        "c: {d: &d {x: 1}, e: {f: &f {<<: *d, x: 2}}}\ng: {<<: *f, x: 3}",
        "deep: {deeper: {a: &a {x: 1}, b: &b {<<: *a, x: 2}}}\nc: {<<: *b}",
        "a: [1, 2.5, true, null, 2026-05-04, text]\n1: b",
    ],
)
def test_it_says_what_yaml_says(text):
    assert parse_yaml(text) == yaml.safe_load(text)


MERGES = "m0: &m0 {a: 1}" + "".join(
    f"\nm{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}" for n in range(1, 12)
)
"""Nine times as many keys in each line; they would be all the memory there is."""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("? [a, b]\n: 1", "line 1: expected a name as a key, received a list or a mapping"),
        ("a: 1\n? {b: 2}\n: 1", "line 2: expected a name as a key"),
        ("a: 1\nb: 2\na: 3", "line 3: a is set twice, first in line 1"),
        ("a: &a {x: 1}\nb: {<<: *a, y: 1, y: 2}", "line 2: y is set twice"),
        ("b: {<<: 3}", "not valid YAML in line 1, column 9: expected a mapping or list"),
        ("[" * 2000, "not valid YAML: lists or mappings nest too deeply"),
        ("{a: " * 2000, "not valid YAML: lists or mappings nest too deeply"),
        ("a: 1\nb: 2026-13-45", "line 2: expected a value of the kind timestamp: month must be"),
        ("a: !!int b", "line 1: expected a value of the kind int"),
        ("a: " + "9" * 5000, "line 1: expected a value of the kind int"),
        ('a: "\\ud800"', "line 1: '\\ud800' is half a character"),
        ("a: \0", "not valid YAML: "),
        (MERGES, "line 6: expected at most 10,000 keys with those that are merged, received more"),
        ("a: !!python/name:os.system x", "not valid YAML in line 1"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(text, problem):
    with pytest.raises(YamlError) as caught:
        parse_yaml(text)
    (line,) = str(caught.value).splitlines()
    assert problem in line
    line.encode()
