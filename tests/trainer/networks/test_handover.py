"""Vectors and tensors share memory where TensorFlow can work on it."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from manylabel.trainer.networks.handover import to_tensor, to_vector

pytestmark = pytest.mark.slow


def vector_at(offset, size=100):
    """float32[size], read-only, `offset` bytes after a 64-byte boundary."""
    memory = np.zeros(size + 32, np.float32)
    start = -memory.ctypes.data % 64 // 4 + offset // 4
    vector = memory[start : start + size]
    vector[:] = np.arange(size)
    vector.flags.writeable = False
    return vector


def address(tensor):
    return np.asarray(memoryview(tensor)).ctypes.data


def test_an_aligned_vector_is_not_copied():
    vector = vector_at(0)
    tensor = to_tensor(vector)
    assert address(tensor) == vector.ctypes.data
    assert tensor.dtype == tf.float32
    np.testing.assert_array_equal(tensor.numpy(), np.arange(100))
    assert not vector.flags.writeable, "the vector itself stays as it was"


@pytest.mark.parametrize("offset", [4, 8, 16, 32, 60])
def test_an_unaligned_vector_is_copied(offset):
    """TensorFlow ends the process when it computes with such memory."""
    vector = vector_at(offset)
    tensor = to_tensor(vector)
    assert address(tensor) != vector.ctypes.data
    np.testing.assert_array_equal((tensor + 1).numpy(), np.arange(1, 101))


@pytest.mark.parametrize(
    "vector", [np.zeros(0, np.float32), vector_at(0, 64)[::2], vector_at(0, 1)]
)
def test_odd_vectors_arrive(vector):
    np.testing.assert_array_equal(to_tensor(vector).numpy(), vector)


def test_memory_lives_as_long_as_the_tensor_and_no_longer():
    vector = vector_at(0)
    alive = weakref.ref(vector)
    tensor = to_tensor(vector)
    del vector
    gc.collect()
    assert alive() is not None
    np.testing.assert_array_equal(tensor.numpy(), np.arange(100))
    del tensor
    gc.collect()
    assert alive() is None


def test_a_graph_keeps_no_vector_alive():
    total = tf.function(tf.reduce_sum)
    vector = vector_at(0)
    alive = weakref.ref(vector)
    assert float(total(to_tensor(vector))) == 4950
    del vector
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_tensor_is_not_copied_on_its_way_out(size):
    tensor = tf.range(size, dtype=tf.float32) * 1
    vector = to_vector(tensor)
    assert vector.dtype == np.float32
    assert vector.shape == (size,)
    assert vector.ctypes.data == address(tensor) or not size
    assert not vector.flags.writeable
    del tensor
    gc.collect()
    np.testing.assert_array_equal(vector, np.arange(size))
