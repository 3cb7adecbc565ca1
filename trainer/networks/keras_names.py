"""How keras.applications names the layers of our networks.

A separable convolution is one layer there and two here, and some layers have no name of their own
there: Keras counts them, `conv2d`, `conv2d_1` and so on, in the order in which they were made. In a
process that had made other layers before, it counts on from those, and older versions began at 1:
only their order says which is which.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from manylabel.trainer.networks.config import ModelConfig

_COUNTED = re.compile(r"(conv2d|convolution2d|batch_normalization|batchnormalization)(?:_(\d+))?")
# Before version 2, which the first published files are from.
_EARLIER_KINDS = {"convolution2d": "conv2d", "batchnormalization": "batch_normalization"}


class KerasLayer(NamedTuple):
    """Some arrays of a layer of keras.applications: those of one of our layers.

    Attributes:
        name: of the layer, or `counted(...)`.
        arrays: which ones, in the order that the layer has them.
    """

    name: str
    arrays: slice = slice(None)


def application(config: ModelConfig) -> str | None:
    """The name that keras.applications has for a network; None for one that it has not."""
    return "Xception" if config.name == "xception" else None


def is_application_name(location: str) -> bool:
    """Whether it can only be meant as a name, and not as a path."""
    return location.isalnum() and not Path(location).exists()


def counted(kind: str, place: int) -> str:
    """What stands for the layer of a kind that Keras made and named as number `place`, from 0."""
    return f"{kind}#{place}"


def without_counters(names: Iterable[str]) -> dict[str, str]:
    """A file's names of layers by names that do not depend on where Keras began to count.

    Returns:
        `counted(kind, place)` for those that Keras counted, the name itself for the others.
    """
    found: dict[str, str] = {}
    numbered: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        if match := _COUNTED.fullmatch(name):
            kind = _EARLIER_KINDS.get(match[1], match[1])
            numbered.setdefault(kind, []).append((int(match[2] or 0), name))
        else:
            found[name] = name
    for kind, layers in numbered.items():
        found |= {counted(kind, place): name for place, (_, name) in enumerate(sorted(layers))}
    return found


def keras_layers(config: ModelConfig, names: Sequence[str]) -> dict[str, KerasLayer]:
    """Where the layers of ours that keras.applications has under other names are there.

    Args:
        names: of our layers with weights, in the network's order.
    """
    return _of_xception(names) if config.name == "xception" else {}


def _of_xception(names: Sequence[str]) -> dict[str, KerasLayer]:
    """Its shortcuts are counted, from block 2 on."""
    shortcuts = sorted(
        (name for name in names if name.endswith("_shortcut")),
        key=lambda name: int(name.removeprefix("block").removesuffix("_shortcut")),
    )
    layers = {}
    for place, name in enumerate(shortcuts):
        layers[name] = KerasLayer(counted("conv2d", place))
        layers[f"{name}_bn"] = KerasLayer(counted("batch_normalization", place))
    for name in names:
        for ending, arrays in (("_depthwise", slice(0, 1)), ("_pointwise", slice(1, None))):
            if name.endswith(ending):
                layers[name] = KerasLayer(name.removesuffix(ending), arrays)
    return layers
