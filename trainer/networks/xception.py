"""Xception, Figure 5 of "Xception: Deep Learning with Depthwise Separable Convolutions".

Chollet, CVPR 2017, arXiv 1610.02357. Where the figure is silent (padding, biases, initial values)
the network is that of keras.applications: with 1,000 classes it has 22,855,952 trainable
parameters, the number in the paper's Table 3.
"""

import keras
from keras import layers

from manylabel.trainer.networks.config import InitialScale, XceptionConfig
from manylabel.trainer.networks.head import classifier
from manylabel.trainer.networks.head_config import Activation
from manylabel.trainer.networks.layers import batch_norm, images, scaled
from manylabel.trainer.networks.segments import SegmentedConv2D


def xception(config: XceptionConfig, classes: int) -> keras.Model:
    """Xception without an activation at its end.

    Input: float32 [B, S, S, 3] in [-1, 1], with S = config.input_size.
    Output: float32 logits [B, classes], also under a mixed precision policy.
    """
    inputs = images(config)
    x = _stem(inputs, config)
    # The stem ends in a ReLU, so the first block must not begin with another.
    x = _reducing_block(x, config, (128, 128), "block2", activate_first=False)
    x = _reducing_block(x, config, (256, 256), "block3")
    x = _reducing_block(x, config, (728, 728), "block4")
    for block in range(5, 5 + config.middle_repeats):
        x = _middle_block(x, config, f"block{block}")
    last = 5 + config.middle_repeats
    x = _reducing_block(x, config, (728, 1024), f"block{last}")
    for index, channels in enumerate((1536, 2048), start=1):
        name = f"block{last + 1}_sepconv{index}"
        x = _separable(x, config, channels, name)
        x = layers.Activation("relu", name=f"{name}_act")(x)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, classifier(x, config, classes), name="xception")


def _stem(x: keras.KerasTensor, config: XceptionConfig) -> keras.KerasTensor:
    """Two ordinary convolutions, both `valid`: 299 -> 149 -> 147 pixels."""
    for index, (channels, stride) in enumerate(((32, 2), (64, 1)), start=1):
        name = f"block1_conv{index}"
        x = layers.Conv2D(
            scaled(channels, config.width), 3, strides=stride, use_bias=False, name=name
        )(x)
        x = batch_norm(x, config, name)
        x = layers.Activation("relu", name=f"{name}_act")(x)
    return x


def _reducing_block(
    x: keras.KerasTensor,
    config: XceptionConfig,
    channels: tuple[int, int],
    name: str,
    activate_first: bool = True,
) -> keras.KerasTensor:
    """Two separable convolutions and a pooling that halves the sides, beside a strided 1x1."""
    inputs = x
    for index, count in enumerate(channels, start=1):
        step = f"{name}_sepconv{index}"
        if activate_first or index > 1:
            x = layers.Activation("relu", name=f"{step}_act")(x)
        x = _separable(x, config, count, step)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
    if not config.residual:
        return x
    shortcut = layers.Conv2D(
        scaled(channels[-1], config.width),
        1,
        strides=2,
        padding="same",
        use_bias=False,
        name=f"{name}_shortcut",
    )(inputs)
    return layers.Add(name=f"{name}_add")([x, batch_norm(shortcut, config, f"{name}_shortcut")])


def _middle_block(x: keras.KerasTensor, config: XceptionConfig, name: str) -> keras.KerasTensor:
    """Three separable convolutions of 728 channels beside an identity shortcut."""
    inputs = x
    for index in range(1, 4):
        step = f"{name}_sepconv{index}"
        x = layers.Activation("relu", name=f"{step}_act")(x)
        x = _separable(x, config, 728, step)
    return layers.Add(name=f"{name}_add")([x, inputs]) if config.residual else x


def _separable(
    x: keras.KerasTensor, config: XceptionConfig, channels: int, name: str
) -> keras.KerasTensor:
    """Depthwise 3x3, pointwise 1x1, batch normalisation.

    Two layers instead of one SeparableConv2D, which has no place for an activation in between;
    TensorFlow runs the same two operations for both.
    """
    x = _spatial(config, name)(x)
    if config.intermediate_activation is not Activation.NONE:
        x = layers.Activation(config.intermediate_activation, name=f"{name}_intermediate")(x)
    x = layers.Conv2D(scaled(channels, config.width), 1, use_bias=False, name=f"{name}_pointwise")(
        x
    )
    return batch_norm(x, config, name)


def _spatial(config: XceptionConfig, name: str) -> keras.layers.Layer:
    """The 3x3 convolution of a separable one: depthwise, or over the setting's segments."""
    if isinstance(config.segments, int):
        return SegmentedConv2D(
            config.segments,
            initial_scale=config.depthwise_initial_scale,
            name=f"{name}_segments",
        )
    if config.depthwise_initial_scale is InitialScale.KERAS:
        initializer: keras.initializers.Initializer | str = "glorot_uniform"
    else:
        limit = (3 / 9) ** 0.5  # A uniform distribution's, whose variance is 1/9.
        initializer = keras.initializers.RandomUniform(-limit, limit)
    return layers.DepthwiseConv2D(
        3,
        padding="same",
        depth_multiplier=config.depth_multiplier,
        depthwise_initializer=initializer,
        use_bias=False,
        name=f"{name}_depthwise",
    )
