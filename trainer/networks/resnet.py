"""ResNet with bottlenecks: "Deep Residual Learning for Image Recognition" (He et al., arXiv
1512.03385, Table 1), the first version: batch normalisation and ReLU after each convolution.

Layers and their names are those of keras.applications, where a stage's first 1x1 convolution has
the stride, as in the paper.
"""

import keras
from keras import layers

from manylabel.trainer.networks.config import ResNetConfig
from manylabel.trainer.networks.head import classifier
from manylabel.trainer.networks.layers import batch_norm, images, rescaled, scaled

_CHANNELS = (64, 128, 256, 512)
"""Inside the bottlenecks of each stage; four times as many outside."""


def resnet(config: ResNetConfig, classes: int) -> keras.Model:
    """ResNet without an activation at its end.

    Input: float32 [B, S, S, 3] in [-1, 1], with S = config.input_size.
    Output: float32 logits [B, classes], also under a mixed precision policy.
    """
    inputs = images(config)
    x = rescaled(inputs, config.input_scale)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = _normalised(x, config, 64, 7, "conv1", strides=2, padding="valid")
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, (channels, count) in enumerate(zip(_CHANNELS, config.blocks, strict=True), start=2):
        for block in range(1, count + 1):
            strides = 2 if stage > 2 and block == 1 else 1
            name = f"conv{stage}_block{block}"
            x = _bottleneck(x, config, channels, strides, name, project=block == 1)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, classifier(x, config, classes), name="resnet")


def _bottleneck(
    x: keras.KerasTensor,
    config: ResNetConfig,
    channels: int,
    strides: int,
    name: str,
    *,
    project: bool,
) -> keras.KerasTensor:
    """1x1, 3x3, 1x1 beside the input, or a projection of it where its shape changes."""
    shortcut = x
    if project:
        shortcut = _normalised(x, config, 4 * channels, 1, f"{name}_0", strides=strides)
    x = _normalised(x, config, channels, 1, f"{name}_1", strides=strides)
    x = layers.Activation("relu", name=f"{name}_1_relu")(x)
    x = _normalised(x, config, channels, 3, f"{name}_2")
    x = layers.Activation("relu", name=f"{name}_2_relu")(x)
    x = _normalised(x, config, 4 * channels, 1, f"{name}_3")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


def _normalised(
    x: keras.KerasTensor,
    config: ResNetConfig,
    channels: int,
    size: int,
    name: str,
    *,
    strides: int = 1,
    padding: str = "same",
) -> keras.KerasTensor:
    """A convolution and batch normalisation."""
    x = layers.Conv2D(
        scaled(channels, config.width),
        size,
        strides=strides,
        padding=padding,
        use_bias=config.bias,
        name=f"{name}_conv",
    )(x)
    return batch_norm(x, config, name)
