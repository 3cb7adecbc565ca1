"""What evaluation can tell its user."""


class EvaluationError(Exception):
    """An evaluation cannot be made or read; shown to the user as one line."""
