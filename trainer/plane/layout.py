"""The flat layout: every trainable parameter of a model as one float32 vector, cut into ranges."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from manylabel.storage.documents import Count

# Ranges begin on 64-byte boundaries: a cache line and an AVX-512 register.
ALIGNMENT = 16


class VariableSlot(BaseModel):
    """Where one variable's values stand in the flat vector: [offset, offset + size)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    shape: tuple[Count, ...]
    offset: Count
    decayed: bool = False  # whether L2 applies to it
    # Whether as to a depthwise kernel. None: not told apart then, and not written now either, since
    # a checkpoint's digest is of its manifest.
    depthwise: bool | None = Field(None, exclude_if=lambda told: told is None)

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def is_depthwise(self) -> bool:
        """Whether it is a depthwise kernel; checkpoints from before this was stored have Xception's
        variables, which are named so."""
        return "depthwise" in self.path if self.depthwise is None else self.depthwise

    @property
    def stop(self) -> int:
        """One past the last value."""
        return self.offset + self.size


class ParameterLayout(BaseModel):
    """Two flat float32 vectors of a model: trainable parameters, and statistics that a forward
    pass moves (BatchNorm's running mean and variance). Variables stand in the model's own order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: tuple[VariableSlot, ...]
    statistics: tuple[VariableSlot, ...]

    @model_validator(mode="after")
    def _variables_follow_each_other(self) -> Self:
        for slots in (self.parameters, self.statistics):
            stops = [0, *(slot.stop for slot in slots)]
            if [slot.offset for slot in slots] != stops[:-1] or stops[-1] >= 1 << 63:
                raise ValueError("expected variables that follow each other without a gap")
        return self

    @classmethod
    def of(
        cls,
        model: Any,
        decayed: AbstractSet[str] = frozenset(),
        depthwise: AbstractSet[str] = frozenset(),
    ) -> "ParameterLayout":
        """The layout of a keras.Model.

        Args:
            decayed: the paths of the variables that L2 applies to.
            depthwise: of the depthwise kernels among them.

        Raises:
            ValueError: a path is that of no trainable variable of the model.
        """
        unknown = (decayed | depthwise) - {variable.path for variable in model.trainable_variables}
        if unknown:
            raise ValueError(f"not trainable variables of {model.name}: {sorted(unknown)}")
        return cls(
            parameters=_slots(model.trainable_variables, decayed, depthwise),
            statistics=_slots(model.non_trainable_weights, frozenset(), frozenset()),
        )

    @property
    def parameter_count(self) -> int:
        """Length of the parameter vector."""
        return self.parameters[-1].stop if self.parameters else 0

    @property
    def statistics_count(self) -> int:
        """Length of the statistics vector."""
        return self.statistics[-1].stop if self.statistics else 0

    def decayed_within(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The intervals of [start, stop) that L2 applies to, relative to `start`."""
        return [
            (max(slot.offset, start) - start, min(slot.stop, stop) - start)
            for slot in self._decayed_in(start, stop)
        ]

    def l2_within(
        self, start: int, stop: int, l2: float, l2_depthwise: float | None
    ) -> list[float]:
        """The coefficient of each interval of `decayed_within`; `l2_depthwise` None: l2."""
        depthwise = l2 if l2_depthwise is None else l2_depthwise
        return [depthwise if slot.is_depthwise else l2 for slot in self._decayed_in(start, stop)]

    def _decayed_in(self, start: int, stop: int) -> list[VariableSlot]:
        """Those that L2 applies to and that lie, wholly or in part, in [start, stop)."""
        return [
            slot
            for slot in self.parameters
            if slot.decayed and max(slot.offset, start) < min(slot.stop, stop)
        ]

    def read(self, model: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The model's values: float32[parameter_count], float32[statistics_count]."""
        return _flat(model.trainable_variables), _flat(model.non_trainable_weights)

    def assign(
        self, model: Any, parameters: NDArray[np.float32], statistics: NDArray[np.float32]
    ) -> None:
        """Writes flat vectors into the model.

        Raises:
            ValueError: the model or a vector is not of this layout. The model is unchanged then.
        """
        vectors = (
            (self.parameters, model.trainable_variables, parameters),
            (self.statistics, model.non_trainable_weights, statistics),
        )
        for slots, variables, vector in vectors:
            expected = [slot.shape for slot in slots]
            received = [tuple(variable.shape) for variable in variables]
            count = slots[-1].stop if slots else 0
            if expected != received or len(vector) != count:
                raise ValueError(
                    f"the weights are of another model: expected {len(expected)} variables with "
                    f"{count} values, received {len(received)} and a vector of {len(vector)}"
                )
        for slots, variables, vector in vectors:
            for slot, variable in zip(slots, variables, strict=True):
                variable.assign(vector[slot.offset : slot.stop].reshape(slot.shape))


def cut(count: int, shards: int) -> list[tuple[int, int]]:
    """Cuts [0, count) into `shards` contiguous half-open ranges, aligned and nearly equal.

    Ranges pay no heed to variables: a classifier of 17,000 classes holds more than half of
    Xception's parameters, and whole variables would leave one shard with all of it.
    """
    edges = [
        min(count, round(count * shard / shards / ALIGNMENT) * ALIGNMENT) for shard in range(shards)
    ]
    return list(pairwise([*edges, count]))


@dataclass(frozen=True)
class Fragment:
    """The non-empty part [start, stop) of a shard's range that holds (part of) one variable."""

    variable: int
    start: int
    stop: int


def fragments(slots: Sequence[VariableSlot], start: int, stop: int) -> list[Fragment]:
    """How the variables lie in the shard [start, stop), in order, without gaps."""
    return [
        Fragment(index, max(slot.offset, start) - start, min(slot.stop, stop) - start)
        for index, slot in enumerate(slots)
        if max(slot.offset, start) < min(slot.stop, stop)
    ]


def _slots(
    variables: Sequence[Any], decayed: AbstractSet[str], depthwise: AbstractSet[str]
) -> tuple[VariableSlot, ...]:
    slots: list[VariableSlot] = []
    offset = 0
    for variable in variables:
        slot = VariableSlot(
            path=variable.path,
            shape=tuple(variable.shape),
            offset=offset,
            decayed=variable.path in decayed,
            depthwise=variable.path in depthwise,
        )
        slots.append(slot)
        offset = slot.stop
    return tuple(slots)


def _flat(variables: Sequence[Any]) -> NDArray[np.float32]:
    if not variables:
        return np.zeros(0, np.float32)
    return np.concatenate([np.asarray(v, np.float32).reshape(-1) for v in variables])
