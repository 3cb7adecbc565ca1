"""What a call from Python was given: refused in a line where it is of another kind.

Types are hints there; without these checks a path of None is a folder of that name.
"""

import operator
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from manylabel.pipeline.config import Settings, load_settings
from manylabel.pipeline.errors import CommandError
from manylabel.storage.errors import reason_of
from manylabel.storage.problems import shown
from manylabel.storage.settings import SettingsSection
from manylabel.storage.usable_paths import storable, storable_local, usable_local, with_home


def location(name: str, place: Any) -> str:
    """A path or a URI of which runs and manifests tell."""
    with _as_argument(name):
        return storable(_path(place))


def local_path(name: str, place: Any) -> Path:
    """A local path."""
    with _as_argument(name):
        return usable_local(_path(place))


def run_path(name: str, place: Any) -> Path:
    """A local path whose name evaluations can store."""
    with _as_argument(name):
        return storable_local(_path(place))


def whole_settings(settings: Any, section: type[SettingsSection]) -> Any:
    """All settings, of which those that are named by a path or a preset are read; or the section
    that is enough."""
    if isinstance(settings, Settings | section):
        return settings
    if isinstance(settings, str | Path):
        with _as_argument("settings"):
            path = with_home(os.fspath(settings))
        return load_settings(path)
    _refuse_settings(settings, f"Settings, a {section.__name__}, or the path or preset of settings")


def section_of(settings: Any, name: str, section: type[SettingsSection]) -> Any:
    """One section, also where all settings were given."""
    if isinstance(settings, Settings):
        return getattr(settings, name)
    if isinstance(settings, section):
        return settings
    _refuse_settings(settings, f"Settings or an {section.__name__}")


def whole_number(name: str, value: Any, *, least: int = 0) -> int:
    """A number of Python's or NumPy's."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise CommandError(f"{name}: expected a whole number, received {shown(value)}")
    if number < least:
        raise CommandError(f"{name}: expected at least {least}, received {number}")
    return number


@contextmanager
def _as_argument(name: str) -> Iterator[None]:
    """Makes what is wrong with a path the argument's error."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise CommandError(f"{name}: {reason_of(error)}") from error


def _path(place: Any) -> str:
    try:
        path = os.fspath(place)
    except TypeError:
        path = None
    if not isinstance(path, str):
        raise ValueError(f"expected a path as a str or a Path, received {shown(place)}")
    return path


def _refuse_settings(settings: Any, expected: str) -> NoReturn:
    if isinstance(settings, SettingsSection):
        received = f"a {type(settings).__name__}"
    else:
        received = shown(settings)
    raise CommandError(f"settings: expected {expected}, received {received}")
