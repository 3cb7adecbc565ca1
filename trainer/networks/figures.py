"""What a network costs: parameters and multiply-adds, without making its weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import keras
from keras import layers

from manylabel.trainer.networks.build import all_layers, build_model
from manylabel.trainer.networks.config import ModelConfig
from manylabel.trainer.networks.head import CLASSIFIER
from manylabel.trainer.networks.segments import SegmentedConv2D

_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, SegmentedConv2D)


@dataclass(frozen=True)
class NetworkFigures:
    """Of a network with a given number of classes.

    Attributes:
        trainable: parameters that gradients change.
        total: those and the running statistics of batch normalisation.
        multiply_adds: of convolutions and dense layers, for one image.
        features: inputs of the classifier.
    """

    trainable: int
    total: int
    multiply_adds: int
    features: int


def network_figures(config: ModelConfig, classes: int) -> NetworkFigures:
    """Counts a network. It takes seconds, and no memory for weights.

    Raises:
        ValueError: as `build_model`.
    """
    with keras.StatelessScope(initialize_variables=False):
        model = build_model(config, classes)
    return NetworkFigures(
        trainable=_count(model.trainable_weights),
        total=_count(model.weights),
        multiply_adds=sum(_multiply_adds(model)),
        features=model.get_layer(CLASSIFIER).input.shape[-1],
    )


def _count(variables: list[keras.Variable]) -> int:
    return sum(prod(variable.shape) for variable in variables)


def _multiply_adds(model: keras.Model) -> Iterator[int]:
    """Every kernel weight is used once at each place of the output."""
    for layer in all_layers(model):
        if isinstance(layer, (*_CONVOLUTIONS, layers.Dense)):
            places = prod(layer.output.shape[1:-1])
            yield places * _count([weight for weight in layer.weights if len(weight.shape) > 1])
