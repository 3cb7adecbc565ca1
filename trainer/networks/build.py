"""The one door to every network."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from manylabel.trainer.networks.config import ModelConfig
from manylabel.trainer.networks.head import CLASSIFIER
from manylabel.trainer.networks.inception_v3 import inception_v3
from manylabel.trainer.networks.keras_applications import keras_applications
from manylabel.trainer.networks.resnet import resnet
from manylabel.trainer.networks.segments import SegmentedConv2D
from manylabel.trainer.networks.vgg16 import vgg16
from manylabel.trainer.networks.vgg_separable import vgg_separable
from manylabel.trainer.networks.xception import xception

_BUILDERS: dict[str, Callable[[Any, int], keras.Model]] = {
    "xception": xception,
    "inception_v3": inception_v3,
    "vgg_separable": vgg_separable,
    "vgg16": vgg16,
    "resnet": resnet,
    "keras_applications": keras_applications,
}


def build_model(config: ModelConfig, classes: int) -> keras.Model:
    """Build the network with fresh random weights; all biases are 0.

    Input: float32 images [B, S, S, 3] in [-1, 1], with S = config.input_size.
    Output: float32 logits [B, classes], no activation.
    The weights follow `keras.utils.set_random_seed`; the compute type follows the global policy
    of `keras.config.set_dtype_policy`. All its batch normalisation has the momentum
    config.batch_norm_momentum.
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

    These are the kernels of all convolutions (depthwise too) and dense layers, those of models
    within the model as well; biases and the scales and offsets of normalisations stay free.
    """
    return frozenset(kernel.path for layer in all_layers(model) for kernel in _kernels(layer))


def depthwise_variables(model: keras.Model) -> frozenset[str]:
    """Those of `decayed_variables` whose every weight sees one channel: depthwise kernels."""
    return frozenset(
        kernel.path
        for layer in all_layers(model)
        for kernel in _kernels(layer)
        if _is_depthwise(layer, kernel)
    )


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields the model's layers, and in place of a model among them that model's."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        else:
            yield layer


def _kernels(layer: keras.layers.Layer) -> list[keras.Variable]:
    match layer:
        case layers.SeparableConv2D():  # A Conv2D's sister with two kernels.
            return [layer.depthwise_kernel, layer.pointwise_kernel]
        case SegmentedConv2D():
            return [kernel for kernel in (layer.kernel, layer.larger_kernel) if kernel is not None]
        case layers.Conv2D() | layers.DepthwiseConv2D() | layers.Dense():
            return [layer.kernel]
    return []


def _is_depthwise(layer: keras.layers.Layer, kernel: keras.Variable) -> bool:
    match layer:
        case layers.SeparableConv2D():
            return kernel is layer.depthwise_kernel
        case layers.DepthwiseConv2D():
            return True
        case SegmentedConv2D():
            return kernel.shape[2] == 1
        case layers.Conv2D():
            return layer.groups > 1 and kernel.shape[2] == 1
    return False
