"""How much memory a parameter shard holds, for Ray to find a node that has it."""

from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.plane.layout import ParameterLayout, cut
from manylabel.trainer.plane.policies.compensation import DelayCompensation
from manylabel.trainer.plane.policies.config import Synchronous

_FLOAT32 = 4  # bytes
# Python with NumPy, Numba and Ray, before there is a parameter: 180 MiB, and something to spare.
PROCESS_BYTES = 256 * 2**20


def shard_bytes(config: TrainerConfig, layout: ParameterLayout) -> int:
    """Of the largest shard, in bytes; an upper bound.

    A shard of n parameters and m statistics (float32) holds

        its state       n weights, n average, n of each optimizer slot; m statistics, m average
        staged          n + m of a gradient of each worker
        snapshots       n + m of the weights that each worker computes with, and of the newest
        an update       n + m of the mean of a round, n of a clipped or compensated gradient

    of which Ray keeps what is staged and the snapshots in the object store of the shard's node,
    unless they are small.
    """
    topology = config.topology
    parameters = _longest(layout.parameter_count, topology.parameter_shards)
    statistics = _longest(layout.statistics_count, topology.parameter_shards)
    slots = len(config.optimizer.new_slots(0))
    state = (2 + slots) * parameters + 2 * statistics
    under_way = (2 * topology.workers + 1) * (parameters + statistics)
    update = parameters + statistics if isinstance(config.updates, Synchronous) else 0
    compensation = config.updates.compensation
    if isinstance(compensation, DelayCompensation):
        state += len(compensation.new_slots(0)) * parameters
    if isinstance(compensation, DelayCompensation) or config.global_clipnorm is not None:
        update += parameters
    return PROCESS_BYTES + _FLOAT32 * (state + under_way + update)


def _longest(count: int, shards: int) -> int:
    return max(stop - start for start, stop in cut(count, shards))
