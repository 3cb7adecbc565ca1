"""What training can tell its user."""


class TrainingError(Exception):
    """Training cannot go on; shown to the user as one line."""


class CheckpointError(TrainingError):
    """A checkpoint is missing, unfinished or damaged."""
