"""Writes docs/settings.md: every setting, from the models that read them.

python -m docs.settings
"""

import enum
import inspect
import json
import types
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from manylabel.deploy.kubernetes.config import KubernetesConfig
from manylabel.eval.schedule.config import Schedules
from manylabel.eval.schedule.durations import duration_text
from manylabel.pipeline.config import Settings
from manylabel.preprocessing.catalog_config import CatalogConfig, HeldoutCatalogConfig

PAGE = Path(__file__).parent / "settings.md"

TOP = """# Settings

Made by `python -m docs.settings` from the models that read them; a test keeps it current.

`preprocess`, `train` and `evaluate` read one YAML file of three sections, or a preset by its name,
and `--set trainer.epochs=3` changes a setting for one command. Unknown keys, values out of bounds
and settings that contradict each other are refused in a line that names them. So are numbers that
are infinite, or become 0 or infinite in the float32 of training, `yes` and `no` in place of
numbers, and what versions of YAML read differently: `010`, `1:30`, a key that is no text. Anchors
and merge keys (`<<: *other`) may be used between sections: a section's own keys win, and of several
mappings the first.
"""
FILES = (
    ("", Settings, ""),
    (
        "schedules.yaml",
        Schedules,
        "Beside the runs, for `manylabel schedule` ([how it works](schedule.md)).",
    ),
    (
        "kubernetes.yaml",
        KubernetesConfig,
        "The file of `submit --on kubernetes` ([how it works](kubernetes.md)).",
    ),
)

_BOUNDS = (
    (annotated_types.Ge, "ge", "≥"),
    (annotated_types.Gt, "gt", ">"),
    (annotated_types.Le, "le", "≤"),
    (annotated_types.Lt, "lt", "<"),
)
_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false"}


class Section(NamedTuple):
    """Settings that stand together.

    Attributes:
        place: Dotted; empty for the top of a file.
        variant: What `name` says where several models may stand in one place; empty for one.
    """

    place: str
    variant: str
    model: type[BaseModel]


def page() -> str:
    """The text of docs/settings.md."""
    parts = [TOP]
    for title, model, text in FILES:
        if title:
            parts.append(f"## {title}\n\n{text}\n")
        parts += [_section_text(section) for section in _sections(Section("", "", model))]
    return "\n".join(parts)


def _sections(section: Section) -> Iterator[Section]:
    """This one, and those in it; settings that are models are sections of their own."""
    yield section
    if _same_as(section.model):
        return
    for name, field in section.model.model_fields.items():
        place = f"{section.place}.{name}" if section.place else name
        models = list(_models(field.annotation))
        for model in models:
            variant = _name(model) if len(models) > 1 else ""
            yield from _sections(Section(_in_mapping(place, field.annotation), variant, model))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _models(part)


def _same_as(model: type[BaseModel]) -> str | None:
    """Where the same settings stand, for a model that adds none to another's."""
    return CatalogConfig.SECTION if model is HeldoutCatalogConfig else None


def _name(model: type[BaseModel]) -> str:
    """What tells it from the others that may stand in its place."""
    (name,) = get_args(model.model_fields["name"].annotation)
    return str(name)


def _in_mapping(place: str, annotation: Any) -> str:
    origin = get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, dict | types.MappingProxyType):
        return f"{place}.NAME"
    return f"{place}[]" if origin in (tuple, list) else place


def _section_text(section: Section) -> str:
    rows = [_row(name, field) for name, field in section.model.model_fields.items()]
    table = "\n".join(["| setting | is | default | meaning |", "|---|---|---|---|", *rows])
    if place := _same_as(section.model):
        table = f"Its settings are those of `{place}`."
    if not section.place:
        return f"{table}\n"
    level = "##" if section.place.count(".") == 0 else "###"
    name = f", `name: {section.variant}`" if section.variant else ""
    return f"{level} `{section.place}`{name}\n\n{_told(section.model)}\n\n{table}\n"


def _told(model: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(model) or "").split("\n\n")[0].split())


def _row(name: str, field: FieldInfo) -> str:
    models = list(_models(field.annotation))
    is_, default = _type(field.annotation, field.metadata), _default(field)
    if models:
        is_ = "section" if field.is_required() or default != "`null`" else "section or `null`"
        default = default if default == "`null`" or field.is_required() else _variant(field, models)
    meaning = " ".join((field.description or "").split())
    if not meaning and len(models) == 1:
        meaning = _told(models[0])
    cells = (f"`{name}`", is_, default, meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _variant(field: FieldInfo, models: list[type[BaseModel]]) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    return f"`name: {default.name}`" if len(models) > 1 else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*needed*"
    value = field.get_default(call_default_factory=True, validated_data={})
    assert value is not PydanticUndefined
    if isinstance(value, timedelta):
        return f"`{duration_text(value)}`"
    if isinstance(value, float) and 0 < abs(value) < 1e-3:
        return f"`{value:g}`"
    if isinstance(value, BaseModel | dict):
        return ""
    if isinstance(value, str) and value:  # An enum is one too.
        return f"`{value}`"
    return f"`{json.dumps(value, ensure_ascii=False, default=str)}`"


def _type(annotation: Any, metadata: list[Any]) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], [*arguments[1:], *metadata])
    if origin in (Union, types.UnionType):
        return " or ".join(_type(each, metadata) for each in arguments)
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in arguments)
    if origin in (tuple, list):
        return f"list of: {_type(arguments[0], [])}"
    if annotation is type(None):
        return "`null`"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " or ".join(f"`{each.value}`" for each in annotation)
    if annotation is timedelta:
        return "time such as `90s`, `6h` or `1h30m`"
    name = _NAMES.get(annotation, "text")
    return " ".join([name, *_bounds(metadata)]) if annotation in (int, float) else name


def _bounds(metadata: list[Any]) -> Iterator[str]:
    for each in metadata:
        inner = each.metadata if isinstance(each, FieldInfo) else [each]
        for one in inner:
            for type_, attribute, sign in _BOUNDS:
                if isinstance(one, type_):
                    yield f"{sign} {getattr(one, attribute)}"


if __name__ == "__main__":
    PAGE.write_text(page())
