"""Weights of another training into a network that begins: matched by name and by shape.

The trunk, all but the layers of the head, must fit as a whole: a network with a few layers of
another one is neither. The head (fully connected layers and the classifier) is taken as far as it
fits; from its first layer that does not, it starts anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from manylabel.trainer.errors import InitialWeightsError
from manylabel.trainer.networks.config import ModelConfig
from manylabel.trainer.networks.head import CLASSIFIER
from manylabel.trainer.networks.keras_names import (
    KerasLayer,
    biased_before,
    is_in_keras_head,
    keras_layers,
    without_counters,
)

Shape = tuple[int, ...]

_CONVOLUTION_DIMENSIONS = 4


class StoredArray(Protocol):
    """An array where it is kept. Its shape is known before it is read."""

    @property
    def shape(self) -> Shape: ...

    def read(self) -> NDArray[np.float32]:
        """Raises InitialWeightsError where it cannot be read as numbers."""


StoredLayers = Mapping[str, Sequence[StoredArray]]
"""Each layer's arrays in the order that Keras keeps them: kernel and bias; gamma, beta, mean and
variance, as far as the layer has them."""


@dataclass(frozen=True)
class TakenWeights:
    """What became of stored weights.

    Attributes:
        arrays: those that were taken, by the path of our variable.
        anew: the head's layers that were not there or did not fit, in order; they are as before.
        unused: the stored layers that the network has no place for, sorted.
    """

    arrays: dict[str, NDArray[np.float32]]
    anew: tuple[str, ...]
    unused: tuple[str, ...]


def take_weights(
    model: keras.Model,
    config: ModelConfig,
    stored: StoredLayers,
    source: str,
    *,
    same_classes: bool = True,
) -> TakenWeights:
    """Puts stored weights into a model of `build_model`.

    Args:
        model, config: what was built, and from which settings.
        stored: with our names of layers, or those of keras.applications.
        source: what errors call it.
        same_classes: False where its classes are known to be others: then the classifier starts
            anew whatever its shape.

    Raises:
        InitialWeightsError: the trunk does not fit, the source has convolutions that the network
            has not, or what it holds cannot be read or is not finite. The model may have been
            changed in part when an array cannot be read.
    """
    layers = _layers(model)
    found, used = _find(layers, config, stored)
    anew = tuple(_anew(layers, found, same_classes))
    _check_trunk(layers, found, config, source)
    unused = {name: arrays for name, arrays in stored.items() if arrays and name not in used}
    _check_rest(unused, config, source)
    arrays = {
        variable.path: _assign(variable, array, source)
        for name, variables in layers.items()
        if name not in anew
        for variable, array in zip(variables, found[name], strict=True)
    }
    return TakenWeights(arrays, anew, tuple(sorted(unused)))


def _layers(model: keras.Model) -> dict[str, list[Any]]:
    """The variables of each layer that has any, also of layers in nested models: first those that
    training moves, as Keras keeps them in files."""
    layers: dict[str, list[Any]] = {}
    for variable in sorted(model.weights, key=lambda variable: not variable.trainable):
        layers.setdefault(variable.path.split("/")[-2], []).append(variable)
    return layers


def _find(
    layers: Mapping[str, Sequence[Any]], config: ModelConfig, stored: StoredLayers
) -> tuple[dict[str, Sequence[StoredArray]], set[str]]:
    """What is stored for our layers, and the names of the stored layers that it is part of."""
    names = without_counters(stored)
    theirs = keras_layers(config, list(layers))
    found: dict[str, Sequence[StoredArray]] = {}
    used: set[str] = set()
    for ours, name in without_counters(layers).items():
        place = KerasLayer(ours) if ours in names else theirs.get(ours, KerasLayer(ours))
        if place.name in names:
            found[name] = stored[names[place.name]][place.arrays]
            used.add(names[place.name])
    for name in layers:
        _take_bias_away(found, biased_before(config, name), name)
    return found, used


def _take_bias_away(
    found: dict[str, Sequence[StoredArray]], convolution: str | None, normalisation: str
) -> None:
    """Where a bias is stored that we have not, and batch normalisation follows it: without the bias
    in the running mean, it gives the same."""
    match found.get(convolution or "", ()), found.get(normalisation, ()):
        case [kernel, bias], [*others, mean, variance] if mean.shape == bias.shape:
            found[convolution or ""] = [kernel]
            found[normalisation] = [*others, _Difference(mean, bias), variance]


@dataclass(frozen=True)
class _Difference:
    """One stored array less another of the same shape."""

    first: StoredArray
    second: StoredArray

    @property
    def shape(self) -> Shape:
        return self.first.shape

    def read(self) -> NDArray[np.float32]:
        return self.first.read() - self.second.read()


def _is_in_head(layer: str) -> bool:
    return layer == CLASSIFIER or layer.startswith("fully_connected")


def _anew(
    layers: Mapping[str, Sequence[Any]],
    found: Mapping[str, Sequence[StoredArray]],
    same_classes: bool,
) -> Iterator[str]:
    """The head's layers from the first one on that does not fit: later ones have learnt to read
    what comes out of it."""
    started = False
    for name in filter(_is_in_head, layers):
        others = name == CLASSIFIER and not same_classes
        started = started or others or _shapes(layers[name]) != _shapes(found.get(name, ()))
        if started:
            yield name


def _check_trunk(
    layers: Mapping[str, Sequence[Any]],
    found: Mapping[str, Sequence[StoredArray]],
    config: ModelConfig,
    source: str,
) -> None:
    trunk = [name for name in layers if not _is_in_head(name)]
    wrong = [name for name in trunk if _shapes(layers[name]) != _shapes(found.get(name, ()))]
    if wrong:
        first = wrong[0]
        raise InitialWeightsError(
            f"{source}: expected the weights of this {config.name}; {len(wrong)} of its "
            f"{len(trunk)} layers below the head do not fit, the first {first}: expected "
            f"{_told(layers[first])}, received {_told(found.get(first, ()))}; name a file of the "
            "same network, width and depth as trainer.model.initial_weights, or leave it out"
        )


def _check_rest(unused: StoredLayers, config: ModelConfig, source: str) -> None:
    """Layers of another head may be left; a convolution that is left was part of what the rest
    has learnt."""
    left = [
        name
        for name, arrays in unused.items()
        if any(len(array.shape) >= _CONVOLUTION_DIMENSIONS for array in arrays)
        and not is_in_keras_head(name)
    ]
    if left:
        raise InitialWeightsError(
            f"{source}: expected the weights of this {config.name}; it has no place for "
            f"{len(left)} of the convolutions there, the first {left[0]} "
            f"({_told(unused[left[0]])}); name a file of the same network, width and depth as "
            "trainer.model.initial_weights, or leave it out"
        )


def _assign(variable: Any, array: StoredArray, source: str) -> NDArray[np.float32]:
    values = array.read()
    if not np.isfinite(values).all():
        raise InitialWeightsError(
            f"{source}: expected finite weights, received NaN or Inf in what is {variable.path} "
            "here; name another file as trainer.model.initial_weights"
        )
    variable.assign(values)
    return values


def _shapes(arrays: Sequence[Any]) -> list[Shape]:
    return [tuple(array.shape) for array in arrays]


def _told(arrays: Sequence[Any]) -> str:
    return " and ".join(map(shape_text, _shapes(arrays))) or "none"


def shape_text(shape: Shape) -> str:
    """As 3×3×64×1."""
    return "×".join(map(str, shape)) or "a number"
