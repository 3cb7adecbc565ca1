"""What deployment can tell its user."""

from manylabel.storage.errors import ManylabelError


class DeploymentError(ManylabelError):
    """A model cannot be exported, or a job not be described; shown to the user as one line."""
