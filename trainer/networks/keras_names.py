"""How keras.applications names the layers of our networks.

A separable convolution is one layer there and two here, and some layers have no name of their own
there: Keras counts them, `conv2d`, `conv2d_1` and so on, in the order in which they were made. In a
process that had made other layers before, it counts on from those, and older versions began at 1:
only their order says which is which.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from manylabel.trainer.networks.backbone_config import KerasApplicationsConfig, family
from manylabel.trainer.networks.config import (
    InceptionV3Config,
    InceptionVariant,
    ModelConfig,
    ResNetConfig,
    VGG16Config,
    XceptionConfig,
)
from manylabel.trainer.networks.head_config import InputScale

_COUNTED = re.compile(
    r"(conv2d|convolution2d|depthwise_conv2d|separable_conv2d|batch_normalization"
    r"|batchnormalization|layer_normalization)(?:_(\d+))?"
)
# Before version 2, which the first published files are from.
_EARLIER_KINDS = {"convolution2d": "conv2d", "batchnormalization": "batch_normalization"}

_RESNETS = {(3, 4, 6, 3): "ResNet50", (3, 4, 23, 3): "ResNet101", (3, 8, 36, 3): "ResNet152"}


class KerasLayer(NamedTuple):
    """Some arrays of a layer of keras.applications: those of one of our layers.

    Attributes:
        name: of the layer, or `counted(...)`.
        arrays: which ones, in the order that the layer has them.
    """

    name: str
    arrays: slice = slice(None)


class Application(NamedTuple):
    """A network in keras.applications.

    Attributes:
        name: its function.
        input_scale: what its ImageNet weights have learnt from.
    """

    name: str
    input_scale: InputScale


def application(config: ModelConfig) -> Application | None:
    """The network in keras.applications that has these layers; None where it has none."""
    match config:
        case XceptionConfig():
            return Application("Xception", InputScale.SYMMETRIC)
        case InceptionV3Config(variant=InceptionVariant.KERAS):
            return Application("InceptionV3", InputScale.SYMMETRIC)
        case VGG16Config():
            return Application("VGG16", InputScale.CAFFE)
        case ResNetConfig(blocks=blocks) if blocks in _RESNETS:
            return Application(_RESNETS[blocks], InputScale.CAFFE)
        case KerasApplicationsConfig(backbone=backbone):
            return Application(backbone.value, family(backbone).input_scale)
    return None


def is_application_name(location: str) -> bool:
    """Whether it can only be meant as a name, and not as a path."""
    return location.isalnum() and not os.path.exists(location)  # False for what is no path at all


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
    match config:
        case XceptionConfig():
            return _of_xception(names)
        case InceptionV3Config():
            convolutions = enumerate(_convolutions_of_inception_v3())
            return {
                ours: layer for place, name in convolutions for ours, layer in _pair(name, place)
            }
        case VGG16Config():
            return {f"fully_connected{place}": KerasLayer(f"fc{place}") for place in (1, 2)}
        case KerasApplicationsConfig(backbone=backbone) if backbone.startswith("ConvNeXt"):
            # The normalisation of its features has a name only above its classifier.
            prefix = backbone.replace("ConvNeXt", "convnext_").lower()
            return {counted("layer_normalization", 0): KerasLayer(f"{prefix}_head_layernorm")}
    return {}


def is_in_keras_head(layer: str) -> bool:
    """Whether a layer of keras.applications with a kernel of four dimensions classifies: those of
    MobileNet (the first) and of MobileNetV3."""
    return layer in ("conv_preds", "conv_2", "logits")


def biased_before(config: ModelConfig, layer: str) -> str | None:
    """The convolution before a batch normalisation, where keras.applications adds a bias in between
    that we have not; None elsewhere."""
    if isinstance(config, ResNetConfig) and not config.bias and layer.endswith("_bn"):
        return f"{layer.removesuffix('_bn')}_conv"
    return None


def _of_xception(names: Sequence[str]) -> dict[str, KerasLayer]:
    """Its shortcuts are counted, from block 2 on."""
    shortcuts = sorted(
        (name for name in names if name.endswith("_shortcut")),
        key=lambda name: int(name.removeprefix("block").removesuffix("_shortcut")),
    )
    layers = dict(pair for place, name in enumerate(shortcuts) for pair in _pair(name, place))
    for name in names:
        for ending, arrays in (("_depthwise", slice(0, 1)), ("_pointwise", slice(1, None))):
            if name.endswith(ending):
                layers[name] = KerasLayer(name.removesuffix(ending), arrays)
    return layers


def _pair(name: str, place: int) -> Iterator[tuple[str, KerasLayer]]:
    """A convolution and its batch normalisation, both counted."""
    yield name, KerasLayer(counted("conv2d", place))
    yield f"{name}_bn", KerasLayer(counted("batch_normalization", place))


def _convolutions_of_inception_v3() -> list[str]:
    """Our names in the order in which keras.applications makes them."""
    names = [f"stem_conv{step}" for step in range(1, 6)]
    for block in ("mixed0", "mixed1", "mixed2"):
        names += [f"{block}_1x1_1", *_steps(f"{block}_5x5", 2), *_steps(f"{block}_double3x3", 3)]
        names += [f"{block}_pool_1x1_1"]
    names += ["mixed3_3x3", *_steps("mixed3_double3x3", 3)]
    for block in ("mixed4", "mixed5", "mixed6", "mixed7"):
        names += [f"{block}_1x1_1", *_steps(f"{block}_7x7", 3), *_steps(f"{block}_double7x7", 5)]
        names += [f"{block}_pool_1x1_1"]
    names += [*_steps("mixed8_3x3", 2), *_steps("mixed8_7x7", 4)]
    for block in ("mixed9", "mixed10"):
        names += [f"{block}_1x1_1"]
        for branch, count in (("3x3", 1), ("double3x3", 2)):
            part = f"{block}_{branch}"
            names += [*_steps(part, count), f"{part}_row", f"{part}_column"]
        names += [f"{block}_pool_1x1_1"]
    return names


def _steps(branch: str, count: int) -> list[str]:
    return [f"{branch}_{step}" for step in range(1, count + 1)]
