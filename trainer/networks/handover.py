"""Flat vectors into TensorFlow and out of it in the memory they are in.

Copying the 91 MB of Xception's 22.9 million parameters takes 10 ms each way, and up to 80 ms into
pages that were never touched.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from manylabel.trainer.plane.optimizers import FloatVector

# TensorFlow's kernels take it for granted and end the process where it is not so. Ray's object
# store and TensorFlow itself allocate so; NumPy need not.
TENSOR_ALIGNMENT = 64


def to_tensor(vector: FloatVector) -> tf.Tensor:
    """The vector, float32[n], as a tensor on the CPU, in its own memory if that is aligned.

    The tensor and all that is made from it without a copy keep the vector alive. They must not
    be written to: the vector may be read-only, and what lies in an object store is shared with
    other processes, without a guard in the hardware. TensorFlow's operations write to a tensor
    only where they own it, but views of the tensor (tf.split makes some) pass for owned: copy
    before a variable takes one over.
    """
    if vector.ctypes.data % TENSOR_ALIGNMENT or not vector.flags.c_contiguous:
        return tf.convert_to_tensor(vector)
    return tf.experimental.dlpack.from_dlpack(np.asarray(_Lent(vector)).__dlpack__())


def to_vector(tensor: tf.Tensor) -> FloatVector:
    """The tensor as a read-only vector; in the tensor's own memory if it is on the CPU."""
    return np.asarray(memoryview(tensor))


class _Lent:
    """The same memory without the flag that it is read-only, which DLPack cannot express and NumPy
    therefore refuses to export. Arrays made from this keep the vector alive."""

    def __init__(self, vector: FloatVector) -> None:
        self._vector = vector
        address = vector.ctypes.data, False  # not read-only
        self.__array_interface__: dict[str, Any] = {**vector.__array_interface__, "data": address}
