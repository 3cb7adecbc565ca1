"""What deployment can tell its user."""


class DeploymentError(Exception):
    """A model cannot be exported; shown to the user as one line."""
