"""Hashes of columns, held to hashlib's; datasets that exist hang on each bit of them."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.decisions.hashing import HASH_RANGE, hash_texts, mix


def plain(text, purpose):
    digest = hashlib.blake2b(f"{purpose}\0{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HASH_RANGE


def random_texts(count, longest, seed=0):
    rng = np.random.default_rng(seed)
    letters = list("abcdefghij/._-0123456789äß漢🐢")
    lengths = rng.integers(0, longest, count)
    return ["".join(rng.choice(letters, length)) for length in lengths]


@pytest.mark.parametrize("purpose", ["shard", "order", "label", "", "a longer salt" * 20])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_every_text_as_hashlib(purpose, kind):
    texts = random_texts(500, 60) + random_texts(60, 700, seed=1)
    hashes = hash_texts(pa.array(texts, kind), purpose)
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [plain(text, purpose) for text in texts]


def test_lengths_around_a_block():
    """BLAKE2b compresses 128 bytes at once, and the last block in another way."""
    texts = ["x" * length for length in range(520)]
    assert hash_texts(pa.array(texts), "p").tolist() == [plain(text, "p") for text in texts]


def test_a_slice_its_nulls_and_no_text_at_all():
    texts = pa.array(["a", None, "bc", "", "d"])
    expected = [plain(text, "p") for text in ("", "bc", "")]
    assert hash_texts(texts.slice(1, 3), "p").tolist() == expected
    assert hash_texts(texts.slice(2, 0), "p").tolist() == []
    assert hash_texts(pa.array([], pa.string()), "p").tolist() == []
    assert hash_texts(pa.array([None, None], pa.string()), "p").tolist() == [plain("", "p")] * 2


def test_a_known_number():
    """Of another implementation: printf 'shard\\0images/a.jpg' | b2sum -l 64."""
    assert hash_texts(pa.array(["images/a.jpg"]), "shard").tolist() == [8326524846742376434]


def test_numbers_are_mixed_as_published():
    """The first numbers of splitmix64 from 0: its state grows by the golden ratio."""
    golden = 0x9E3779B97F4A7C15
    states = np.array([golden * step % (1 << 64) for step in (1, 2, 3)], np.uint64)
    assert mix(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_buckets_of_numbers_in_a_row_are_even():
    counts = np.bincount((mix(np.arange(100_000, dtype=np.uint64)) % np.uint64(16)).astype(int))
    assert counts.min() > 0.95 * 100_000 / 16
