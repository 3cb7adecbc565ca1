"""Inception V3: "Rethinking the Inception Architecture for Computer Vision" (Szegedy et al.,
arXiv 1512.00567), without its auxiliary tower.

Two forms, see InceptionV3Config.variant. `keras` is that of keras.applications. `2016` is the one
that the Xception paper compared with: its author's code of August 2016, which differs in

- 32 channels in all three pooling branches of the 35 x 35 stage (today 32, 64, 64);
- 160 channels at the start of mixed7's third branch (today 192);
- convolutions with biases, ReLU before batch normalisation, which has a factor as well;
- average instead of maximum pooling in mixed8.
"""

from collections.abc import Sequence

import keras
from keras import layers

from manylabel.trainer.networks.config import InceptionV3Config, InceptionVariant
from manylabel.trainer.networks.head import classifier
from manylabel.trainer.networks.layers import batch_norm, images, scaled

_Step = tuple[int, int | tuple[int, int]]
"""A convolution's channels and kernel size."""


def inception_v3(config: InceptionV3Config, classes: int) -> keras.Model:
    """Inception V3 without an activation at its end.

    Input: float32 [B, S, S, 3] in [-1, 1], with S = config.input_size.
    Output: float32 logits [B, classes], also under a mixed precision policy.
    """
    is_of_2016 = config.variant is InceptionVariant.AUGUST_2016
    inputs = images(config)
    x = _stem(inputs, config)
    for index, pooled in enumerate((32, 32, 32) if is_of_2016 else (32, 64, 64)):
        x = _mixed_35(x, config, pooled, f"mixed{index}")
    x = _reduced_35(x, config, "mixed3")
    for index, channels in enumerate((128, 160, 160, 192), start=4):
        first = 160 if is_of_2016 and index == 7 else channels
        x = _mixed_17(x, config, channels, first, f"mixed{index}")
    x = _reduced_17(x, config, "mixed8")
    for name in ("mixed9", "mixed10"):
        x = _mixed_8(x, config, name)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, classifier(x, config, classes), name="inception_v3")


def _stem(x: keras.KerasTensor, config: InceptionV3Config) -> keras.KerasTensor:
    """299 -> 149 -> 147 -> 147 -> 73 -> 73 -> 71 -> 35 pixels with `valid`."""
    edges = config.padding.value
    x = _convolution(x, config, 32, 3, "stem_conv1", strides=2, padding=edges)
    x = _convolution(x, config, 32, 3, "stem_conv2", padding=edges)
    x = _convolution(x, config, 64, 3, "stem_conv3")
    x = layers.MaxPooling2D(3, strides=2, padding=edges, name="stem_pool1")(x)
    x = _convolution(x, config, 80, 1, "stem_conv4")
    x = _convolution(x, config, 192, 3, "stem_conv5", padding=edges)
    return layers.MaxPooling2D(3, strides=2, padding=edges, name="stem_pool2")(x)


def _mixed_35(
    x: keras.KerasTensor, config: InceptionV3Config, pooled: int, name: str
) -> keras.KerasTensor:
    branches = [
        _chain(x, config, [(64, 1)], f"{name}_1x1"),
        _chain(x, config, [(48, 1), (64, 5)], f"{name}_5x5"),
        _chain(x, config, [(64, 1), (96, 3), (96, 3)], f"{name}_double3x3"),
        _pooled(x, config, pooled, f"{name}_pool"),
    ]
    return layers.Concatenate(name=name)(branches)


def _reduced_35(x: keras.KerasTensor, config: InceptionV3Config, name: str) -> keras.KerasTensor:
    """To 17 x 17."""
    edges = config.padding.value
    double = _chain(x, config, [(64, 1), (96, 3)], f"{name}_double3x3")
    branches = [
        _convolution(x, config, 384, 3, f"{name}_3x3", strides=2, padding=edges),
        _convolution(double, config, 96, 3, f"{name}_double3x3_3", strides=2, padding=edges),
        layers.MaxPooling2D(3, strides=2, padding=edges, name=f"{name}_pool")(x),
    ]
    return layers.Concatenate(name=name)(branches)


def _mixed_17(
    x: keras.KerasTensor, config: InceptionV3Config, channels: int, first: int, name: str
) -> keras.KerasTensor:
    """`first`: channels that the third branch begins with."""
    n, row, column = channels, (1, 7), (7, 1)
    double: list[_Step] = [(first, 1), (n, column), (n, row), (n, column), (192, row)]
    branches = [
        _chain(x, config, [(192, 1)], f"{name}_1x1"),
        _chain(x, config, [(n, 1), (n, row), (192, column)], f"{name}_7x7"),
        _chain(x, config, double, f"{name}_double7x7"),
        _pooled(x, config, 192, f"{name}_pool"),
    ]
    return layers.Concatenate(name=name)(branches)


def _reduced_17(x: keras.KerasTensor, config: InceptionV3Config, name: str) -> keras.KerasTensor:
    """To 8 x 8."""
    edges = config.padding.value
    is_of_2016 = config.variant is InceptionVariant.AUGUST_2016
    pooling = layers.AveragePooling2D if is_of_2016 else layers.MaxPooling2D
    small = _chain(x, config, [(192, 1)], f"{name}_3x3")
    large = _chain(x, config, [(192, 1), (192, (1, 7)), (192, (7, 1))], f"{name}_7x7")
    branches = [
        _convolution(small, config, 320, 3, f"{name}_3x3_2", strides=2, padding=edges),
        _convolution(large, config, 192, 3, f"{name}_7x7_4", strides=2, padding=edges),
        pooling(3, strides=2, padding=edges, name=f"{name}_pool")(x),
    ]
    return layers.Concatenate(name=name)(branches)


def _mixed_8(x: keras.KerasTensor, config: InceptionV3Config, name: str) -> keras.KerasTensor:
    branches = [_chain(x, config, [(320, 1)], f"{name}_1x1")]
    splits: dict[str, list[_Step]] = {"3x3": [(384, 1)], "double3x3": [(448, 1), (384, 3)]}
    for branch, steps in splits.items():
        part = f"{name}_{branch}"
        split = _chain(x, config, steps, part)
        sides = [
            _convolution(split, config, 384, (1, 3), f"{part}_row"),
            _convolution(split, config, 384, (3, 1), f"{part}_column"),
        ]
        branches.append(layers.Concatenate(name=part)(sides))
    branches.append(_pooled(x, config, 192, f"{name}_pool"))
    return layers.Concatenate(name=name)(branches)


def _pooled(
    x: keras.KerasTensor, config: InceptionV3Config, channels: int, name: str
) -> keras.KerasTensor:
    x = layers.AveragePooling2D(3, strides=1, padding="same", name=name)(x)
    return _chain(x, config, [(channels, 1)], f"{name}_1x1")


def _chain(
    x: keras.KerasTensor,
    config: InceptionV3Config,
    steps: Sequence[_Step],
    name: str,
) -> keras.KerasTensor:
    """Convolutions one after the other, at the same side lengths."""
    for index, (channels, size) in enumerate(steps, start=1):
        x = _convolution(x, config, channels, size, f"{name}_{index}")
    return x


def _convolution(
    x: keras.KerasTensor,
    config: InceptionV3Config,
    channels: int,
    size: int | tuple[int, int],
    name: str,
    *,
    strides: int = 1,
    padding: str = "same",
) -> keras.KerasTensor:
    """With batch normalisation and ReLU, in the order of the variant."""
    is_of_2016 = config.variant is InceptionVariant.AUGUST_2016
    x = layers.Conv2D(
        scaled(channels, config.width),
        size,
        strides=strides,
        padding=padding,
        use_bias=is_of_2016,
        name=name,
    )(x)
    if is_of_2016:
        x = layers.Activation("relu", name=f"{name}_act")(x)
        return batch_norm(x, config, name)
    x = batch_norm(x, config, name, scale=False)
    return layers.Activation("relu", name=f"{name}_act")(x)
