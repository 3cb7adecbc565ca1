"""What deployment can tell its user."""


class DeploymentError(Exception):
    """A model cannot be exported, or a job not be described; shown to the user as one line."""
