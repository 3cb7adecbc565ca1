"""What the command line can tell its user."""

from manylabel.cluster.errors import ClusterError
from manylabel.deploy.errors import DeploymentError
from manylabel.eval.errors import EvaluationError
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.storage.errors import StorageError
from manylabel.trainer.errors import TrainingError


class SettingsError(Exception):
    """A settings file, preset or `--set` is wrong; each line of the text is one problem."""


class CommandError(Exception):
    """A command cannot do what it was asked; shown to the user as one line."""


class EvaluationBusyError(CommandError):
    """Another process evaluates the same checkpoint: wait, and nothing is left to do."""


class Interrupted(Exception):
    """The user stopped a command; the text says how it goes on. Exit code 130."""


USER_ERRORS = (
    SettingsError,
    CommandError,
    ClusterError,
    StorageError,
    PreprocessingError,
    TrainingError,
    EvaluationError,
    DeploymentError,
)
"""What is the user's to mend: shown without a traceback, exit code 2."""
