"""Each epoch deals every record once, and the order can be taken up at any position."""

import hashlib
import tracemalloc

import numpy as np
import pytest

from manylabel.trainer.records.order import RecordOrder

LAYOUTS = [
    # shard sizes, block, mix
    ([1], 1, 1),
    ([1], 8, 8),
    ([5, 0, 7, 1], 3, 2),
    ([0, 0, 9], 4, 100),
    ([9, 0, 0], 4, 1),
    ([100] * 8, 16, 4),
    ([3] * 50, 8, 3),
    ([37, 2, 113], 1, 5),
    ([64, 64], 64, 1),
]


def pairs(shards, records):
    return list(zip(shards.tolist(), records.tolist(), strict=True))


@pytest.mark.parametrize(("sizes", "block", "mix"), LAYOUTS)
def test_every_epoch_deals_each_record_once(sizes, block, mix):
    order = RecordOrder(sizes, 3, block, mix)
    total = sum(sizes)
    assert order.records == total
    epochs, shards, records = order.locate(0, 4 * total)
    assert epochs.tolist() == np.repeat(range(4), total).tolist()
    everything = [(shard, record) for shard, size in enumerate(sizes) for record in range(size)]
    for epoch in range(4):
        dealt = pairs(shards[epochs == epoch], records[epochs == epoch])
        assert sorted(dealt) == everything


@pytest.mark.parametrize(("sizes", "block", "mix"), LAYOUTS)
def test_any_range_of_a_new_order_is_that_part_of_the_stream(sizes, block, mix):
    total = sum(sizes)
    whole = np.stack(RecordOrder(sizes, 5, block, mix).locate(0, 2 * total + 9))
    lengths = (0, 1, 7, total)
    for start in range(2 * total):
        stop = min(start + lengths[start % 4], 2 * total + 9)
        part = np.stack(RecordOrder(sizes, 5, block, mix).locate(start, stop))
        np.testing.assert_array_equal(part, whole[:, start:stop])


def test_epochs_and_seeds_differ():
    def dealt(seed, epoch):
        return tuple(
            pairs(*RecordOrder([40, 60], seed, 5, 4).locate(100 * epoch, 100 * epoch + 100)[1:])
        )

    assert len({dealt(seed, epoch) for seed in range(5) for epoch in range(5)}) == 25


def test_a_batch_comes_from_many_places():
    """With 128 blocks mixed, 32 records are of about 28.4 blocks: 128 (1 - (127/128)^32)."""
    order = RecordOrder([320_000], 0, 32, 128)
    _, _, records = order.locate(0, 3200)
    blocks = [len(set((records[i : i + 32] // 32).tolist())) for i in range(0, 3200, 32)]
    assert 27 < np.mean(blocks) < 30
    # The blocks of a group are themselves from everywhere.
    assert np.std(records) == pytest.approx(320_000 / np.sqrt(12), rel=0.15)


def test_without_mixing_blocks_stay_together():
    _, _, records = RecordOrder([320], 0, 32, 1).locate(0, 320)
    for start in range(0, 320, 32):
        assert len(set((records[start : start + 32] // 32).tolist())) == 1
    assert (np.diff(records[:32]) != 1).any()


def test_every_record_is_equally_likely_in_every_place():
    first = [RecordOrder([6, 6], seed, 3, 2).locate(0, 1) for seed in range(2400)]
    counts = np.zeros((2, 6))
    for _, [shard], [record] in first:
        counts[shard, record] += 1
    # 200 each; 5 standard deviations of a binomial are 68.
    assert np.abs(counts - 200).max() < 68


def test_the_order_is_the_same_for_ever():
    """A run that began with an earlier release must find its order again."""
    digest = hashlib.sha256(np.stack(RecordOrder([50, 0, 70], 7, 4, 5).locate(0, 360)).tobytes())
    assert digest.hexdigest() == "16313a77c3ff5dcd97557487417ae5b09b3bbdefeaef4749bfe3a8d6bc1fcbb1"


def test_positions_of_a_late_epoch_need_no_walk():
    epochs, _, _ = RecordOrder([1000], 0).locate(10**15, 10**15 + 3)
    assert epochs.tolist() == [10**12] * 3


@pytest.mark.parametrize(
    "arguments",
    [([], 0), ([0, 0], 0), ([3, -1], 0), ([3], -1), ([3], 0, 0), ([3], 0, 1, 0)],
)
def test_wrong_arguments_are_errors(arguments):
    with pytest.raises(ValueError, match="Received"):
        RecordOrder(*arguments)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 4)])
def test_wrong_ranges_are_errors(start, stop):
    with pytest.raises(ValueError, match="0 <= start <= stop"):
        RecordOrder([9], 0).locate(start, stop)


def test_old_epochs_are_forgotten():
    """Of 30 epochs no more is held than of two, which are read together where one ends."""
    blocks = 100_000
    order = RecordOrder([blocks], seed=1, block=1, mix=128)
    tracemalloc.start()
    try:
        for epoch in range(30):
            edge = (epoch + 1) * blocks
            order.locate(edge - 8, edge + 8)
            order.locate(edge - 16, edge - 8)  # by a worker that lags behind
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert blocks * 16 < held < blocks * 17
