"""What training can tell its user."""

from manylabel.storage.errors import ManylabelError, Transient


class TrainingError(ManylabelError):
    """Training cannot go on; shown to the user as one line."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be read or written."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint's own files are missing, cut short or changed; an earlier one may do."""


class NonFiniteStateError(TrainingError):
    """A shard's state holds NaN or Inf; the message says in which vector of which file."""


class InitialWeightsError(TrainingError):
    """`model.initial_weights` names nothing that the network can begin with; the message says
    what did not fit."""


class UnseenPathError(TrainingError):
    """A node of the cluster does not see, or cannot write, what every node must."""


class UnreachableRunError(TrainingError, Transient):
    """The storage of a run failed for now, which it may not do another time."""


class CheckpointStorageError(CheckpointError):
    """The storage of checkpoints failed while one was written or an old one removed, and not for
    want of room: what was trained may be saved yet."""


class UnreachableCheckpointError(CheckpointStorageError, UnreachableRunError):
    """It failed for now: another start may do better."""


class LostPartError(TrainingError, Transient):
    """A process that training cannot go on without, its node, or the cluster was lost; the message
    says which. The same command goes on from the last checkpoint."""
