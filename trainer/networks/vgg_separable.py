"""A VGG-like network of separable convolutions, for section 4.6 of the Xception paper: without
shortcuts, "depthwise separable convolutions can be stacked" as VGG's ordinary ones.

The paper gives no layers. These are VGG-16's thirteen (2, 2, 3, 3, 3), its 512 channels raised to
2,048 so that parameters and features are those of Inception V3, and one pooling for the end.
"""

import keras
from keras import layers

from manylabel.trainer.networks.config import VGGSeparableConfig
from manylabel.trainer.networks.head import classifier
from manylabel.trainer.networks.layers import batch_norm, images, scaled

_STAGES = ((64, 2), (128, 2), (256, 3), (2048, 3), (2048, 3))
"""Channels and convolutions between two poolings."""


def vgg_separable(config: VGGSeparableConfig, classes: int) -> keras.Model:
    """The network without an activation at its end.

    Input: float32 [B, S, S, 3] in [-1, 1], with S = config.input_size.
    Output: float32 logits [B, classes], also under a mixed precision policy.
    """
    inputs = x = images(config)
    for stage, (channels, count) in enumerate(_STAGES, start=1):
        if stage > 1:
            x = layers.MaxPooling2D(2, name=f"block{stage - 1}_pool")(x)
        for index in range(1, count + 1):
            is_first = stage == index == 1
            name = f"block{stage}_sepconv{index}"
            x = layers.DepthwiseConv2D(
                3,
                strides=config.stem_stride if is_first else 1,
                padding="same",
                use_bias=False,
                name=f"{name}_depthwise",
            )(x)
            x = layers.Conv2D(
                scaled(channels, config.width), 1, use_bias=False, name=f"{name}_pointwise"
            )(x)
            x = batch_norm(x, config, name)
            x = layers.Activation("relu", name=f"{name}_act")(x)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, classifier(x, config, classes), name="vgg_separable")
