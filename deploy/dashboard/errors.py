"""What the dashboard can tell its reader, beside a page or instead of one."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from manylabel.deploy.errors import DeploymentError
from manylabel.eval.errors import EvaluationError
from manylabel.storage.errors import StorageError, reason_of
from manylabel.trainer.errors import TrainingError

UNREADABLE = (StorageError, EvaluationError, TrainingError, OSError)
"""What reading a store raises where a file is missing, damaged or of another version."""

_T = TypeVar("_T")


_TOLD = re.compile(r"(?:[;:,]\s*| )(?:run )?`(manylabel [^`]*)`(?: makes it again)?\.?$")


def without_command(text: str) -> tuple[str, str | None]:
    """What an error says without the command that repairs it, which pages show below; and that."""
    found = _TOLD.search(text)
    return (text, None) if found is None else (text[: found.start()], found[1])


class DashboardError(DeploymentError):
    """A page cannot be shown; shown to its reader as a page of its own.

    Attributes:
        status: Of the answer, by HTTP.
        title: Of the page.
        command: What would make the page possible, if a command does.
    """

    status = 500
    title = "This page cannot be shown"

    def __init__(self, message: str, command: str | None = None) -> None:
        super().__init__(message, command)  # Both, so that the error survives pickling.
        self.message, told = without_command(message)
        self.command = command or told

    def __str__(self) -> str:
        return self.message


class BadAddress(DashboardError):
    """A parameter of the address is missing or makes no sense."""

    status = 400
    title = "This address makes no sense"


class Refused(DashboardError):
    """Who asks may not see this."""

    status = 403
    title = "Token wanted"


class NotThere(DashboardError):
    """What the address names is not on disk."""

    status = 404
    title = "Nothing here"


class Unreadable(NotThere):
    """What the address names is on disk, or was, and cannot be read."""

    title = "This cannot be read"


def one_line(error: Exception) -> str:
    """What an error says; of one of the operating system's, its path and what is the matter."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or reason_of(error)}"
    return reason_of(error)


@dataclass(frozen=True)
class Problem:
    """Something on disk that could not be read.

    Attributes:
        text: One line that begins with the path.
        command: What repairs it.
    """

    text: str
    command: str | None


class Problems:
    """Collects what could not be read while a page is made; the rest of the page is shown."""

    def __init__(self) -> None:
        self._found: dict[str, Problem] = {}

    def add(self, error: Exception | str, command: str | None = None) -> None:
        """Counts a problem once, however often a page meets it."""
        text = error if isinstance(error, str) else one_line(error)
        text, told = without_command(text)
        self._found.setdefault(text, Problem(text, command or told))

    def attempt(self, read: Callable[[], _T], command: str | None = None) -> _T | None:
        """What `read` returns, or None where it raises one of UNREADABLE, which is counted."""
        try:
            return read()
        except UNREADABLE as error:
            self.add(error, command)
            return None

    @property
    def found(self) -> tuple[Problem, ...]:
        return tuple(self._found.values())
