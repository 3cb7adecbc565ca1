"""The one door to every network."""

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from manylabel.trainer.networks.config import ModelConfig, Network
from manylabel.trainer.networks.xception import CLASSIFIER, xception

_BUILDERS = {Network.XCEPTION: xception}


def build_model(config: ModelConfig, classes: int) -> keras.Model:
    """Build the network with fresh random weights; all biases are 0.

    Input: float32 images [B, S, S, 3] in [-1, 1], with S = config.input_size.
    Output: float32 logits [B, classes], no activation.
    The weights follow `keras.utils.set_random_seed`; the compute type follows the global policy
    of `keras.config.set_dtype_policy`.
    Raises ValueError when classes is below 1.
    """
    if classes < 1:
        raise ValueError(f"A model needs at least 1 class. Received: classes={classes}")
    return _BUILDERS[config.name](config, classes)


def set_head_biases(model: keras.Model, biases: NDArray[np.float32]) -> None:
    """Puts the classifier's biases, float32 [C], into a model of `build_model`."""
    model.get_layer(CLASSIFIER).bias.assign(biases)


def decayed_variables(model: keras.Model) -> frozenset[str]:
    """Paths of the variables that L2 weight decay applies to.

    These are the kernels of all convolutions (depthwise too) and dense layers; biases and batch
    normalisation's scales and offsets stay free.
    """
    with_kernel = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
    return frozenset(layer.kernel.path for layer in model.layers if isinstance(layer, with_kernel))
