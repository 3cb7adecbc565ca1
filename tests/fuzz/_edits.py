"""Documents with odd values: what JSON and YAML can say and nobody expects."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_DIGITS = "9" * 5000
_HUGE = "a number of 5000 digits"
"""Stands for it where Python itself writes no such number."""

_DEEP = "[" * 300
_NESTED = "300 lists in each other"

_PLAIN: SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63) - 1, 2**64, 10**30, _HUGE, _NESTED),
        *(0.5, -0.0, 1e308, 1e-400, math.nan, math.inf, -math.inf),
        *("", " ", "0", "\0", "\x1b[2J", "a\nb", "\u2028", "\ud800", "é", "a" * 5000, "{}", "<<"),
        *("../x", "/etc/passwd", "a/../../b", "file:///etc/passwd", "memory://x", ".", "x" * 300),
        *([], {}, [[]], [None], {"": ""}, {"a": [1]}),
    ]
).map(copy.deepcopy)
ODD = _PLAIN | st.integers(-3, 40) | st.floats() | st.text(max_size=5)

_Draw = Callable[[SearchStrategy[Any]], Any]


@st.composite
def edited(draw: _Draw, documents: list[Any]) -> Any:
    """One of the documents with one to three places replaced, removed, added or swapped."""
    tree = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(tree))
        if not places:
            break
        parent, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(("replace", "replace", "remove", "add", "move"))):
            case "replace":
                parent[key] = draw(ODD)
            case "remove":
                del parent[key]
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(("", "format_version", "a", "é", "x" * 300)))] = draw(
                    ODD
                )
            case "add":
                parent.insert(key, draw(ODD))
            case _:
                other, there = draw(st.sampled_from(places))
                parent[key] = copy.deepcopy(other[there])
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every value, by what holds it."""
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in items:
        yield tree, key
        yield from _places(value)


def to_json(tree: Any) -> bytes:
    """As files say it: NaN, halves of characters, numbers of any length, deep lists."""
    text = json.dumps(tree, indent=1)
    deep = _DEEP + _DEEP.replace("[", "]")
    return text.replace(json.dumps(_HUGE), _DIGITS).replace(json.dumps(_NESTED), deep).encode()


def edited_json(documents: list[Any]) -> SearchStrategy[bytes]:
    """`edited`, as bytes; at times with a key that is there twice."""
    return edited(documents).map(to_json) | edited(documents).map(_twice)


def _twice(tree: Any) -> bytes:
    if not isinstance(tree, dict) or not tree:
        return to_json(tree)
    first = next(iter(tree))
    return b"{" + to_json(first) + b": null," + to_json(tree).lstrip(b"{")
