"""What training can tell its user."""


class TrainingError(Exception):
    """Training cannot go on; shown to the user as one line."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be read or written."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint's own files are missing, cut short or changed; an earlier one may do."""


class NonFiniteStateError(TrainingError):
    """A shard's state holds NaN or Inf; the message says in which vector of which file."""
