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
        "a: [1, 2.5, true, null, 2026-05-04, text, 0, -0, 0.5, 0x1f, 1_000, .inf]\n'1': b",
        "a: &a {x: 1, y: 2}\nb: {<<: [{x: 3}, *a], z: 4}",
        "a: ['010', \"1:30\", 00:30:05-a, !!str 010]",
        "%YAML 1.1\n---\na: &a [x]\nb: [*a, *a]\n...",
        "\ufeffa: 1",
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
        ("b: {<<: {x: 1}, y: 2, <<: {x: 3}}", "line 1: << is set twice, first in line 1; merge"),
        ("b: {<<: [{x: 1}, 3]}", "expected a mapping for merging"),
        ("b: &b {<<: *b, x: 1}", "line 1: a list or mapping holds itself"),
        ("b: &b [*b]", "line 1: a list or mapping holds itself"),
        ("1: x", "line 1: expected a name as a key, received 1, which is of the kind int to YAML"),
        (
            "a: 1\nyes: x",
            "line 2: expected a name as a key, received yes, which is of the kind bool",
        ),
        ("~: x", "received ~, which is of the kind null"),
        (".nan: x", "received .nan, which is of the kind float"),
        ("2026-01-01: x", "received 2026-01-01, which is of the kind timestamp"),
        ("{? , a: 1}", "received nothing, which is of the kind null"),
        ('"a\\nb": 1\n"a\\nb": 2', "line 2: 'a\\nb' is set twice"),
        ("a: 010", "line 1: '010' is not the same number to all versions of YAML"),
        ("a: -0_7", "'-0_7' is not the same number"),
        ("a: 1:30", "'1:30' is not the same number"),
        ("a: 190:20:30.15", "'190:20:30.15' is not the same number"),
        ("a: 0x" + "f" * 300, "line 1: expected a value of the kind int: it has hundreds of"),
        (
            'a: 1\nb: "\\U00110000"',
            r"not valid YAML in line 2, column 7: an escape beyond \U0010ffff",
        ),
        ('"\\UFFFFFFFF": 1', "not valid YAML in line 1, column 4: an escape beyond"),
        ("%YAML 1." + "1" * 5000 + "\n---\na: 1", "or a version of thousands of digits"),
        ("a: !!bool maybe", "line 1: expected a value of the kind bool; put it in quotes"),
        ('a: !!int ""', "line 1: expected a value of the kind int; put"),
        ("a: !!timestamp today", "line 1: expected a value of the kind timestamp; put"),
        ("a: 1\n---\na: 2", "expected a single document in the stream, but found another document"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("b: {<<: 3}", "not valid YAML in line 1, column 9: expected a mapping or list"),
        ("[" * 2000, "not valid YAML: lists or mappings nest too deeply"),
        ("{a: " * 2000, "not valid YAML: lists or mappings nest too deeply"),
        ("a: 1\nb: 2026-13-45", "line 2: expected a value of the kind timestamp: month must be"),
        ("a: !!int b", "line 1: expected a value of the kind int"),
        ("a: " + "9" * 5000, "line 1: expected a value of the kind int"),
        ('a: "\\ud800"', "line 1: '\\ud800' is half a character"),
        ("a: \0", "not valid YAML: "),
        (MERGES, "aliases (*name) repeat more than 100,000 values"),
        ("a: !!python/name:os.system x", "not valid YAML in line 1"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(text, problem):
    with pytest.raises(YamlError) as caught:
        parse_yaml(text)
    (line,) = str(caught.value).splitlines()
    assert problem in line
    line.encode()


@pytest.mark.parametrize("form", ["[{}]", "{{{}}}", "{{<<: [{}]}}"])
def test_aliases_that_would_fill_the_memory_are_refused(form):
    """A billion laughs: each line repeats the one before it ten times."""
    lines = ["a0: &a0 {x: 1}"]
    for depth in range(9):
        parts = [f"*a{depth}"] * 10
        if form == "{{{}}}":
            parts = [f"k{number}: {part}" for number, part in enumerate(parts)]
        lines.append(f"a{depth + 1}: &a{depth + 1} {form.format(', '.join(parts))}")
    with pytest.raises(YamlError, match=r"line \d: aliases .* repeat more than 100,000 values"):
        parse_yaml("\n".join(lines))


def test_a_long_list_is_no_repetition():
    names = ", ".join(f"label{number}" for number in range(5_000))
    tree = parse_yaml(f"a: &a [{names}]\nb: *a\nc: *a")
    assert len(tree["c"]) == 5_000
