"""The settings file: three sections in YAML, from a file or a preset, with `--set` on top."""

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from eval.config import EvalConfig
from pipeline.errors import SettingsError
from preprocessing.config import PreprocessingConfig
from trainer.config import TrainerConfig

PRESETS = Path(__file__).parent / "presets"
_SHOWN = 60  # Characters of a wrong value that an error repeats.


class Settings(BaseModel):
    """Everything a run depends on. A section that is left out has its defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preprocessing: PreprocessingConfig = Field(default_factory=PreprocessingConfig)
    trainer: TrainerConfig = Field(default_factory=TrainerConfig)
    eval: EvalConfig = Field(default_factory=EvalConfig)


def preset_names() -> list[str]:
    """The presets that come with the package, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_settings(source: str, overrides: Sequence[str] = ()) -> Settings:
    """Reads and validates settings.

    Args:
        source: Path of a YAML file, or the name of a preset; a file of that name wins.
        overrides: `section.key=value`, later ones on top; the value is YAML.

    Raises:
        SettingsError: it cannot be read, or holds wrong, unknown or repeated keys.
    """
    path = _find(source)
    tree = _read(path)
    for override in overrides:
        _apply(tree, override)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        lines = [f"{source}: {_problem(problem)}" for problem in error.errors()]
        raise SettingsError("\n".join(lines)) from error


def dump_settings(settings: Settings) -> str:
    """Every setting with its value, as YAML that `load_settings` reads back."""
    tree = settings.model_dump(mode="json")
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def preset_path(name: str) -> Path:
    """The commented file of a preset.

    Raises:
        SettingsError: there is none of that name.
    """
    if name not in preset_names():
        raise SettingsError(f"preset {name}: expected one of {', '.join(preset_names())}")
    return PRESETS / f"{name}.yaml"


def _find(source: str) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if source in preset_names():
        return preset_path(source)
    raise SettingsError(
        f"{source}: expected a YAML file or one of the presets {', '.join(preset_names())}; "
        f"{'it is a folder' if path.is_dir() else 'there is no such file'}"
    )


class _Loader(yaml.SafeLoader):
    """YAML in which a repeated key is an error; plain YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if lines.setdefault(key, line) != line:
                raise SettingsError(f"line {line}: {key} is set twice, first in line {lines[key]}")
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text("utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: {_yaml_problem(error)}") from error
    if not isinstance(tree, dict):
        sections = ", ".join(Settings.model_fields)
        raise SettingsError(f"{path}: expected the sections {sections}, received {_shown(tree)}")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    """Sets one `a.b.c=value` in the tree; which keys there are is validated with the rest."""
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise SettingsError(f"--set {override}: expected section.key=value")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise SettingsError(f"--set {override}: {_yaml_problem(error)}") from error
    for depth, part in enumerate(parts[:-1], start=1):
        branch = tree.setdefault(part, {})
        if branch is None:
            branch = tree[part] = {}
        if not isinstance(branch, dict):
            raise SettingsError(
                f"--set {override}: {'.'.join(parts[:depth])} is {_shown(branch)}, which holds no "
                "keys; set it as a whole"
            )
        tree = branch
    tree[parts[-1]] = value


def _problem(problem: ErrorDetails) -> str:
    """One line: which key, what was expected, what was received."""
    key = ".".join(map(str, problem["loc"]))
    message = problem["msg"]
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown setting{_suggestion(problem['loc'])}"
        case "missing":
            return f"{key}: expected a value, received none; set it in the file or with --set"
        case "value_error":
            return ": ".join(filter(None, [key, message.removeprefix("Value error, ")]))
    expected = message.removeprefix("Input should be ").partition(", unable to")[0]
    return f"{key}: expected {expected}, received {_shown(problem['input'])}"


def _suggestion(location: tuple[int | str, ...]) -> str:
    *parents, key = map(str, location)
    known = sorted(_keys_under(parents))
    close = difflib.get_close_matches(key, known, n=2)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; expected one of {', '.join(known)}" if known else ""


def _keys_under(parents: Sequence[str]) -> set[str]:
    """Names of the settings that the models at this place have.

    A part that names no field (an index, the tag of a union) leaves the models as they are.
    """
    models: list[type[BaseModel]] = [Settings]
    for part in parents:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields:
            models = [model for field in fields for model in _models_in(field.annotation)]
    return {name for model in models for name in model.model_fields}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _yaml_problem(error: yaml.YAMLError) -> str:
    """The parser's message on one line."""
    return "not valid YAML: " + " ".join(str(error).split())


def _shown(value: Any) -> str:
    text = "a section" if isinstance(value, Mapping) else repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
