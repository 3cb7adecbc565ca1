"""What the command line can tell its user."""

import os
from collections.abc import Iterable

from manylabel.storage import full_disks
from manylabel.storage.errors import ManylabelError, reason_of
from manylabel.storage.usable_paths import current_folder_is_there


class SettingsError(ManylabelError):
    """A settings file, preset or `--set` is wrong; each line of the text is one problem."""


class CommandError(ManylabelError):
    """A command cannot do what it was asked; shown to the user as one line."""


class EvaluationBusyError(CommandError):
    """Another process evaluates the same checkpoint: wait, and nothing is left to do."""


class Interrupted(Exception):
    """The user stopped a command; the text says how it goes on. Exit code 130."""


def told(error: Exception, used: Iterable[str] = ()) -> CommandError | None:
    """What came of a full disk, and errors of the system's, as a line; None where it is nothing
    that a user can mend.

    Args:
        used: places that may be meant where a full disk is not named, beside those where any
            command writes what it does not say.
    """
    if (refusal := full_disks.refused(error)) is not None:
        hidden = (os.curdir, "/tmp", "/dev/shm", os.environ.get("TMPDIR", ""))
        return CommandError(full_disks.told(refusal, (*used, *hidden)))
    if not isinstance(error, OSError):
        return None
    if not current_folder_is_there():
        return CommandError("the current folder was removed; run the command in another one")
    if error.filename is None:
        return None
    return CommandError(f"{error.filename}: {error.strerror or reason_of(error)}")
