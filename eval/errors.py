"""What evaluation can tell its user."""

from manylabel.storage.errors import ManylabelError


class EvaluationError(ManylabelError):
    """An evaluation cannot be made or read; shown to the user as one line."""
