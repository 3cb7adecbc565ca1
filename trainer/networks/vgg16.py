"""VGG-16: "Very Deep Convolutional Networks for Large-Scale Image Recognition" (Simonyan and
Zisserman, arXiv 1409.1556), configuration D, with the layer names of keras.applications."""

import keras
from keras import layers

from manylabel.trainer.networks.config import VGG16Config
from manylabel.trainer.networks.head import classifier
from manylabel.trainer.networks.layers import images, rescaled, scaled

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions before each pooling."""


def vgg16(config: VGG16Config, classes: int) -> keras.Model:
    """VGG-16 without an activation at its end.

    Input: float32 [B, S, S, 3] in [-1, 1], with S = config.input_size.
    Output: float32 logits [B, classes], also under a mixed precision policy.
    """
    inputs = images(config)
    x = rescaled(inputs, config.input_scale)
    for stage, (channels, count) in enumerate(_STAGES, start=1):
        for index in range(1, count + 1):
            x = layers.Conv2D(
                scaled(channels, config.width),
                3,
                padding="same",
                activation="relu",
                name=f"block{stage}_conv{index}",
            )(x)
        x = layers.MaxPooling2D(2, name=f"block{stage}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, classifier(x, config, classes, drop_each=True), name="vgg16")
