"""Errors of this package that a user is meant to read."""


class PreprocessingError(Exception):
    """A wrong setting, catalog or dataset; shown to the user as one line."""
