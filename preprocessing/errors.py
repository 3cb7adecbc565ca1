"""Errors of this package that a user is meant to read."""

from manylabel.storage.errors import ManylabelError, Transient


class PreprocessingError(ManylabelError):
    """A wrong setting, catalog or dataset; shown to the user as one line."""


class ClusterLostError(PreprocessingError, Transient):
    """The Ray cluster, or what the job had of it, went away while the work was under way."""
