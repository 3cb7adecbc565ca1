"""One contiguous range of the parameters, its optimizer state and its averages."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manylabel.storage.full_disks import writing
from manylabel.trainer.errors import NonFiniteStateError
from manylabel.trainer.plane.optimizers import SGD, DecayBlocks, FloatVector, RMSprop
from manylabel.trainer.plane.policies.compensation import DelayCompensation

SLOT_PREFIX = "slot/"
STATISTICS_VECTORS = ("statistics", "statistics_average")


@dataclass
class ShardState:
    """Everything a shard owns. Vectors are float32: n parameters, m statistics.

    Attributes:
        weights, average: [n] the parameters and their Polyak average.
        slots: [n] each, the optimizer's state by name.
        statistics, statistics_average: [m] BatchNorm's running statistics and their average,
            which inference with averaged weights needs as well.
    """

    weights: FloatVector
    average: FloatVector
    slots: dict[str, FloatVector]
    statistics: FloatVector
    statistics_average: FloatVector

    @classmethod
    def initial(
        cls, weights: FloatVector, statistics: FloatVector, optimizer: RMSprop | SGD
    ) -> "ShardState":
        """The state before the first update; copies its arguments."""
        return cls(
            weights.copy(),
            weights.copy(),
            optimizer.new_slots(len(weights)),
            statistics.copy(),
            statistics.copy(),
        )

    def writable(self) -> "ShardState":
        """The same values in arrays that can be written: what another process sent cannot."""
        return ShardState.from_vectors(
            {
                name: np.require(vector, np.float32, ["C", "W"])
                for name, vector in self.vectors().items()
            }
        )

    def vectors(self) -> dict[str, FloatVector]:
        """Name to vector, as a checkpoint file keeps them."""
        return {
            "weights": self.weights,
            "average": self.average,
            "statistics": self.statistics,
            "statistics_average": self.statistics_average,
            **{f"{SLOT_PREFIX}{name}": vector for name, vector in self.slots.items()},
        }

    @classmethod
    def from_vectors(cls, vectors: Mapping[str, FloatVector]) -> "ShardState":
        """The inverse of `vectors`."""
        return cls(
            vectors["weights"],
            vectors["average"],
            {
                name.removeprefix(SLOT_PREFIX): vector
                for name, vector in vectors.items()
                if name.startswith(SLOT_PREFIX)
            },
            vectors["statistics"],
            vectors["statistics_average"],
        )


# A worker's name and the number of its update.
UpdateId = tuple[str, int]


class ParameterShard:
    """Owns one range. Gradients are first staged, then applied or discarded.

    The two steps keep shards alike: only once every shard holds its slice of a gradient is the
    update committed, and then every shard applies it, in the same order. A worker that dies half
    way through a push leaves nothing behind.
    """

    def __init__(
        self,
        state: ShardState,
        optimizer: RMSprop | SGD,
        blocks: DecayBlocks,
        statistics_momentum: float,
        version: int = 0,
        compensation: DelayCompensation | None = None,
    ) -> None:
        self._state = state.writable()
        self._optimizer = optimizer
        self._blocks = blocks
        self._statistics_momentum = statistics_momentum
        self._version = version
        self._compensation = compensation
        self._adjusted: FloatVector | None = None
        self._staged: dict[UpdateId, tuple[FloatVector, FloatVector]] = {}
        self._dismissed: set[str] = set()

    @property
    def version(self) -> int:
        """How many updates this shard has applied."""
        return self._version

    def stage(self, update: UpdateId, gradient: FloatVector, statistics: FloatVector) -> float:
        """Holds a gradient slice float32[n] and the batch's part in the statistics float32[m].

        Returns:
            The slice's sum of squares; NaN or Inf when any value of either vector is, or when the
            sum is beyond float32.

        Raises:
            ValueError: a vector has another length than the shard's range.
        """
        for name, received, own in (
            ("gradient", gradient, self._state.weights),
            ("statistics", statistics, self._state.statistics),
        ):
            if received.shape != own.shape:
                raise ValueError(f"{name}: expected shape {own.shape}, received {received.shape}")
        if update[0] not in self._dismissed:
            self._staged[update] = gradient, statistics
        finite = 0.0 if np.isfinite(statistics).all() else float("nan")
        with np.errstate(over="ignore"):  # no warning: the answer says it
            return float(np.dot(gradient, gradient)) + finite

    def mean(self, update: UpdateId, parts: Sequence[tuple[UpdateId, float]]) -> float:
        """Stages, as `update`, the sum of staged updates times their weights, in their place.

        Returns:
            As `stage`.
        """
        from manylabel.trainer.plane.fused_passes import add_scaled

        gradient = np.zeros_like(self._state.weights)
        statistics = np.zeros_like(self._state.statistics)
        for part, weight in parts:
            slopes, contribution = self._staged.pop(part)
            add_scaled(self._blocks.bounds, gradient, slopes, np.float32(weight))
            statistics += np.float32(weight) * contribution
        return self.stage(update, gradient, statistics)

    def apply(
        self,
        update: UpdateId,
        learning_rate: float,
        average_decay: float,
        scale: float = 1.0,
        pulled: tuple[FloatVector, FloatVector] | None = None,
    ) -> None:
        """Applies a staged update: clipping, compensation, L2, optimizer, averages, statistics.

        The running statistics decay here, by what they are now, and not by what they were when the
        worker read them: as differences to an old value they would overshoot, and with many
        workers a variance would become negative.

        Args:
            scale: what the gradient is multiplied by first.
            pulled: (parameters, statistics) that it was computed from, if the delay since is to be
                compensated for.
        """
        gradient, contribution = self._staged.pop(update)
        state = self._state
        if pulled is not None or scale != 1.0:
            gradient = self._adjust(gradient, scale, None if pulled is None else pulled[0])
        self._optimizer.update(
            state.weights,
            state.average,
            state.slots,
            gradient,
            self._blocks,
            learning_rate,
            average_decay,
        )
        state.statistics *= np.float32(self._statistics_momentum)
        state.statistics += contribution
        state.statistics_average += np.float32(1 - average_decay) * (
            state.statistics - state.statistics_average
        )
        self._version += 1

    def discard(self, update: UpdateId) -> None:
        """Forgets a staged update."""
        self._staged.pop(update, None)

    def dismiss(self, worker: str) -> None:
        """Forgets what a worker that ended had staged, and whatever of it still arrives."""
        self._dismissed.add(worker)
        for update in [update for update in self._staged if update[0] == worker]:
            del self._staged[update]

    def weights(self, version: int) -> tuple[FloatVector, FloatVector]:
        """The live parameters float32[n] and statistics float32[m]: copy before the next update.

        Raises:
            RuntimeError: the shard does not stand at `version`; an update was lost.
        """
        self._expect(version)
        return self._state.weights, self._state.statistics

    def save(self, path: str, version: int) -> None:
        """Writes the state to `path` (npz, readable without pickle) and forces it to disk.

        Raises:
            RuntimeError: the shard does not stand at `version`; an update was lost.
            NonFiniteStateError: a vector holds NaN or Inf; nothing is written.
            OSError: the file cannot be written; names it.
        """
        self._expect(version)
        vectors = self._state.vectors()
        for name, vector in vectors.items():
            if not np.isfinite(vector).all():
                raise NonFiniteStateError(f"{name} in {Path(path).name} hold NaN or Inf")
        with writing(path), Path(path).open("wb") as file:
            np.savez(file, allow_pickle=False, **vectors)
            file.flush()
            os.fsync(file.fileno())

    def _adjust(
        self, gradient: FloatVector, scale: float, pulled: FloatVector | None
    ) -> FloatVector:
        """In a vector of the shard's own: the gradient's is read-only, and new memory is slow."""
        if self._adjusted is None:
            self._adjusted = np.empty_like(self._state.weights)
        if self._compensation is None or pulled is None:
            return np.multiply(gradient, np.float32(scale), out=self._adjusted)
        self._compensation.compensate(
            gradient,
            self._state.weights,
            pulled,
            self._state.slots,
            self._blocks,
            scale=scale,
            out=self._adjusted,
        )
        return self._adjusted

    def _expect(self, version: int) -> None:
        if version != self._version:
            raise RuntimeError(f"expected a shard at version {version}, it is at {self._version}")
