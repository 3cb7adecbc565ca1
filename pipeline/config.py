"""The settings file: three sections in YAML, from a file or a preset, with `--set` on top."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from manylabel.eval.config import EvalConfig
from manylabel.pipeline.errors import SettingsError
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.storage.errors import printable, reason_of
from manylabel.storage.problems import problems, shown
from manylabel.storage.settings import SettingsSection
from manylabel.storage.yaml_text import YamlError, parse_yaml
from manylabel.trainer.config import TrainerConfig

PRESETS = Path(__file__).parent / "presets"

_MOST_TOLD = 200
_SIGNS = re.compile(r"[^\w'\"\[\]{}~]+")
"""A value of these alone, such as | or *, is a text: YAML has a meaning for many of them."""


class Settings(SettingsSection):
    """Everything a run depends on."""

    preprocessing: PreprocessingConfig
    trainer: TrainerConfig = Field(default_factory=TrainerConfig)
    eval: EvalConfig = Field(default_factory=EvalConfig)


class _EvalSettings(SettingsSection):
    eval: EvalConfig = Field(default_factory=EvalConfig)


def preset_names() -> list[str]:
    """The presets that come with the package, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_settings(source: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Reads and validates settings.

    Args:
        source: Path of a YAML file, or the name of a preset; a file of that name wins.
        overrides: `section.key=value`, later ones on top; the value is YAML.

    Raises:
        SettingsError: it cannot be read, or holds wrong, unknown or repeated keys.
    """
    path = _find(source)
    tree = _read(path)
    for text in _texts(overrides):
        _apply(tree, text)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        place = f"{source} with --set" if overrides else source
        lines = [f"{place}: {problem}" for problem in problems(error, tree, Settings)]
        raise SettingsError("\n".join(lines)) from error


def eval_settings(overrides: Sequence[str] = (), run_settings: Path | None = None) -> EvalConfig:
    """The section `eval`: of a run's stored settings; without them, its defaults.

    The other sections are not looked at: `train` may have been called from a script, with settings
    of training alone, and what a dataset was once made with need not be what is valid now.

    Args:
        overrides: As in `load_settings`, of this section alone.
        run_settings: The file that the run keeps.

    Raises:
        SettingsError: as `load_settings`.
    """
    tree: dict[str, Any] = {}
    if run_settings is not None:
        tree = {key: value for key, value in _read(run_settings).items() if key == "eval"}
    for text in overrides:
        _apply(tree, text)
    try:
        return _EvalSettings.model_validate(tree).eval
    except ValidationError as error:
        place = "--set" if run_settings is None else str(run_settings)
        if run_settings is not None and overrides:
            place += " with --set"
        lines = [f"{place}: {problem}" for problem in problems(error, tree, _EvalSettings)]
        raise SettingsError("\n".join(lines)) from error


def override(key: str, value: str) -> str:
    """An override that sets `key` to a string, whatever it looks like to YAML."""
    return f"{key}={json.dumps(value)}"


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


def _texts(overrides: Any) -> Sequence[str]:
    """Refuses one text, whose letters are texts too."""
    if isinstance(overrides, list | tuple) and all(isinstance(each, str) for each in overrides):
        return overrides
    raise SettingsError(
        f"overrides: expected a list of section.key=value, received {shown(overrides)}"
    )


def _find(source: Any) -> Path:
    if not isinstance(source, str | Path):
        raise SettingsError(
            "expected the path of a YAML file as a str or a Path, or a preset's name, received "
            f"{shown(source)}"
        )
    path = Path(source)
    try:
        if path.is_file():
            return path
    except OSError as error:  # A name that is too long for any file.
        raise SettingsError(f"{_told(str(source))}: cannot be read: {reason_of(error)}") from error
    if str(source) in preset_names():
        return preset_path(str(source))
    raise SettingsError(
        f"{printable(str(source))}: expected a YAML file or one of the presets "
        f"{', '.join(preset_names())}; "
        f"{'it is a folder' if path.is_dir() else 'there is no such file'}"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = parse_yaml(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {reason_of(error)}") from error
    except YamlError as error:
        raise SettingsError(f"{path}: {error}") from error
    if not isinstance(tree, dict):
        sections = ", ".join(Settings.model_fields)
        raise SettingsError(f"{path}: expected the sections {sections}, received {shown(tree)}")
    return tree


def _told(override: str) -> str:
    """As an error repeats it."""
    text = printable(override)
    return text if len(text) <= _MOST_TOLD else f"{text[:_MOST_TOLD]}…"


def _apply(tree: dict[str, Any], override: str) -> None:
    """Sets one `a.b.c=value` in the tree; which keys there are is validated with the rest."""
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise SettingsError(f"--set {_told(override)}: expected section.key=value")
    try:
        value = text if _SIGNS.fullmatch(text) else parse_yaml(text)
    except YamlError as error:
        raise SettingsError(
            f"--set {_told(override)}: {error}; put texts in double quotes, and all of it in "
            "single ones for the shell"
        ) from error
    for depth, part in enumerate(parts[:-1], start=1):
        branch = tree.setdefault(part, {})
        if branch is None:
            branch = tree[part] = {}
        if not isinstance(branch, dict):
            raise SettingsError(
                f"--set {_told(override)}: {'.'.join(parts[:depth])} is {shown(branch)}, which "
                "holds no keys; set it as a whole"
            )
        tree = branch
    tree[parts[-1]] = value
