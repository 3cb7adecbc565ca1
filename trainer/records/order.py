"""The order in which epochs deal the records of a dataset: shuffled, reproducible, never stored.

A run reads one endless stream. Position p belongs to epoch p // N of N records, and every epoch
deals each record once. Shuffling single records would need memory and seeks for each of them, so:

1. every shard is cut into blocks of consecutive records;
2. an epoch deals all blocks in a random order, cut into groups of a few blocks;
3. the records of a group are shuffled together.

A batch is so drawn from as many places of the dataset as a group has blocks.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]


class RecordOrder:
    """Maps positions of the stream to records; a pure function of its arguments.

    Args:
        shard_sizes: records of each shard; a shard may be empty.
        seed: not negative; another seed is another order.
        block: records in a block, the last one of a shard may have fewer. Memory is
            about 16 bytes a block.
        mix: blocks shuffled together, at least; all of them when there are not two groups' worth.

    Raises:
        ValueError: there are no records, or an argument is out of range.
    """

    def __init__(
        self, shard_sizes: Sequence[int], seed: int, block: int = 32, mix: int = 128
    ) -> None:
        if seed < 0 or block < 1 or mix < 1:
            raise ValueError(
                "expected seed >= 0, block >= 1, mix >= 1. "
                f"Received: seed={seed}, block={block}, mix={mix}"
            )
        self._sizes = np.asarray(shard_sizes, np.int64)
        if self._sizes.ndim != 1 or (self._sizes < 0).any() or self._sizes.sum() == 0:
            raise ValueError(
                "expected the sizes of shards with at least one record in all. "
                f"Received: shard_sizes={list(shard_sizes)}"
            )
        self._seed = seed
        self._block = block
        # Block b of the dataset lies in the last shard whose first block is not after b.
        self._first_blocks = _starts(-(-self._sizes // block))
        groups = max(1, int(self._first_blocks[-1]) // mix)
        self._group_edges = np.arange(groups + 1) * self._first_blocks[-1] // groups
        self._epochs: dict[int, tuple[Int64s, Int64s]] = {}

    @property
    def records(self) -> int:
        """Records of an epoch, N."""
        return int(self._sizes.sum())

    def locate(self, start: int, stop: int) -> tuple[Int64s, Int64s, Int64s]:
        """The records at the positions [start, stop).

        Returns:
            int64[stop - start] each: epochs, shards, and records counted within their shard.

        Raises:
            ValueError: not 0 <= start <= stop.
        """
        if not 0 <= start <= stop:
            raise ValueError(f"expected 0 <= start <= stop. Received: [{start}, {stop})")
        parts = [np.empty((3, 0), np.int64)]
        while start < stop:
            epoch, first = divmod(start, self.records)
            end = min(stop - epoch * self.records, self.records)
            shards, records = self._within_epoch(epoch, first, end)
            parts.append(np.stack([np.full(end - first, epoch), shards, records]))
            start += end - first
        epochs, shards, records = np.concatenate(parts, axis=1)
        return epochs, shards, records

    def _within_epoch(self, epoch: int, start: int, stop: int) -> tuple[Int64s, Int64s]:
        blocks, group_starts = self._deal(epoch)
        first = int(np.searchsorted(group_starts, start, side="right")) - 1
        last = int(np.searchsorted(group_starts, stop, side="left"))
        parts = [self._group(epoch, group, blocks) for group in range(first, last)]
        shards, records = np.concatenate(parts, axis=1)
        offset = int(group_starts[first])
        return shards[start - offset : stop - offset], records[start - offset : stop - offset]

    def _group(self, epoch: int, group: int, blocks: Int64s) -> Int64s:
        """int64[2, n]: shards and records of a group, shuffled."""
        begin, end = self._group_edges[group : group + 2]
        shards, firsts, counts = self._describe(blocks[begin:end])
        ranks = np.arange(counts.sum()) - np.repeat(_starts(counts)[:-1], counts)
        records = np.stack([np.repeat(shards, counts), np.repeat(firsts, counts) + ranks])
        return records[:, self._permutation(len(ranks), epoch, 1 + group)]

    def _deal(self, epoch: int) -> tuple[Int64s, Int64s]:
        """The blocks in the epoch's order, and where in the epoch each group starts (and ends)."""
        if epoch not in self._epochs:
            blocks = self._permutation(int(self._first_blocks[-1]), epoch, 0)
            _, _, counts = self._describe(blocks)
            group_starts = _starts(counts)[self._group_edges]
            # The end of one epoch and the start of the next are read together, others are not.
            self._epochs = {e: d for e, d in self._epochs.items() if abs(e - epoch) == 1}
            self._epochs[epoch] = blocks, group_starts
        return self._epochs[epoch]

    def _describe(self, blocks: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        """Shard, first record and number of records of each block."""
        shards = np.searchsorted(self._first_blocks, blocks, side="right") - 1
        firsts = (blocks - self._first_blocks[shards]) * self._block
        return shards, firsts, np.minimum(self._sizes[shards] - firsts, self._block)

    def _permutation(self, size: int, epoch: int, stream: int) -> Int64s:
        """A random order of range(size), the same under every release of NumPy.

        NumPy promises that for SeedSequence and the bit generators' raw output, and explicitly
        not for Generator's methods; a run must find its order again after an upgrade.
        """
        seed = np.random.SeedSequence(self._seed, spawn_key=(epoch, stream))
        return np.argsort(np.random.Philox(seed).random_raw(size), kind="stable")


def _starts(counts: Int64s) -> Int64s:
    """Where consecutive runs of these lengths start; one more element, the end of the last."""
    return np.concatenate([[0], np.cumsum(counts)])
