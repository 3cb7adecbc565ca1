"""A validation error told to the user: which key, what was expected, what was received."""

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_SHOWN = 60  # Characters of a wrong value that a line repeats.


def problems(error: ValidationError, tree: Mapping[str, Any], model: type[BaseModel]) -> list[str]:
    """One line for each wrong key.

    Args:
        error: From validating `tree`.
        tree: What was validated, as the user wrote it.
        model: What it was validated against; its keys are suggested for misspelt ones.
    """
    lines: dict[str, str] = {}
    for problem in error.errors():
        # A union has a problem for each branch; the last branch is the widest.
        lines[_key(problem, tree)] = _told(problem, model)
    return [": ".join(filter(None, line)) for line in lines.items()]


def shown(value: object) -> str:
    """A value as an error repeats it."""
    text = "a section" if isinstance(value, Mapping) else _beginning(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _beginning(value: object) -> str:
    """The first signs of a value's `repr`, which of some lines of YAML's aliases has gigabytes."""
    text = ""
    for piece in _pieces(value):
        text += piece
        if len(text) > _SHOWN:
            break
    return text


def _pieces(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield "{"
        for number, (key, each) in enumerate(value.items()):
            yield f"{', ' if number else ''}{key!r}: "
            yield from _pieces(each)
        yield "}"
    elif isinstance(value, list | tuple):  # The latter of `!!pairs`.
        yield "[" if isinstance(value, list) else "("
        for number, each in enumerate(value):
            yield ", " if number else ""
            yield from _pieces(each)
        yield "]" if isinstance(value, list) else ")"
    else:
        try:
            yield repr(value)
        except ValueError:  # Python prints no number of more than 4,300 digits.
            yield "a number of thousands of digits"


def named(key: str) -> str:
    """A key as an error repeats it: as it is written, unless that would break the line."""
    return key if key.isprintable() else shown(key)


def _key(problem: ErrorDetails, tree: Mapping[str, Any]) -> str:
    """The key as the user writes it: without the parts that name a branch of a union."""
    parts: list[str] = []
    value: Any = tree
    part: Any
    for part in problem["loc"]:
        if (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        ):
            parts.append(named(str(part)))
            value = value[part]
    if problem["type"] == "missing":
        parts.append(str(problem["loc"][-1]))
    return ".".join(parts)


def _told(problem: ErrorDetails, model: type[BaseModel]) -> str:
    message, context = problem["msg"], problem.get("ctx", {})
    received = shown(problem["input"])
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown setting{_suggestion(problem['loc'], model)}"
        case "missing":
            return "expected a value, received none; set it in the file or with --set"
        case "value_error":
            return message.removeprefix("Value error, ")
        case "union_tag_not_found":
            return f"expected its {context['discriminator']}, received none"
        case "union_tag_invalid":
            kinds, name = context["expected_tags"], context["discriminator"]
            return f"expected {name} {kinds.replace(', ', ' or ')}, received {context['tag']!r}"
        case "model_type" | "model_attributes_type":
            return f"expected a section of keys and values, received {received}"
    expected = message.removeprefix("Input should be ").partition(", unable to")[0]
    return f"expected {expected}, received {received}"


def _suggestion(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    *parents, key = map(str, location)
    known = sorted(_keys_under(parents, model))
    close = difflib.get_close_matches(key, known, n=2)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; expected one of {', '.join(known)}" if known else ""


def _keys_under(parents: Sequence[str], model: type[BaseModel]) -> set[str]:
    """Names of the settings that the model or models at this place have."""
    models = [model]
    for part in parents:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields:
            models = [model for field in fields for model in _models_in(field.annotation)]
        else:  # The tag of a union, which is the only value of one of the branch's fields; or a
            # name that the user gave to one of several sections of the same kind.
            tagged = [
                model
                for model in models
                if any(part in get_args(field.annotation) for field in model.model_fields.values())
            ]
            models = tagged or models
    return {name for model in models for name in model.model_fields}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for argument in get_args(annotation):
        yield from _models_in(argument)
