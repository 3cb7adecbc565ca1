"""How a process uses its cores and GPUs. To be called before TensorFlow's first operation."""

from contextlib import suppress

import keras
import tensorflow as tf

from manylabel.trainer.config import Precision


def configure_device(threads: int, precision: Precision) -> bool:
    """Sets up TensorFlow for one worker among several on a machine.

    Args:
        threads: cores to compute with. Workers that each take all cores of a machine slow each
            other down.

    Returns:
        Whether there is a GPU: only then does XLA pay (it makes Xception 5 to 6 times slower on
        a CPU).
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(max(1, threads))
    keras.config.set_dtype_policy(precision.value)
    return share_gpus() > 0


def share_gpus() -> int:
    """Lets this process take a GPU's memory as it needs it; how many GPUs there are.

    By default the first process takes all that is free of a GPU that it shares with others, such as
    an evaluation beside the training that it looks at. A process that computes with TensorFlow
    already has taken what it takes.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with suppress(RuntimeError, ValueError):  # in use already; divided into virtual ones
            tf.config.experimental.set_memory_growth(gpu, True)
    return len(gpus)
