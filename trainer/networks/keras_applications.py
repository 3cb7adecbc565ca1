"""Any of keras.applications' networks between our input and our head."""

import keras
from keras import layers

from manylabel.trainer.networks.backbone_config import KerasApplicationsConfig, family
from manylabel.trainer.networks.head import classifier
from manylabel.trainer.networks.layers import images, rescaled


def keras_applications(config: KerasApplicationsConfig, classes: int) -> keras.Model:
    """The network up to its global average pooling, and our head.

    It is fed as keras.applications feeds it: with pixels in [0, 255] where it scales them itself.

    Input: float32 [B, S, S, 3] in [-1, 1], with S = config.input_size.
    Output: float32 logits [B, classes], also under a mixed precision policy.
    """
    inputs = images(config)
    backbone = getattr(keras.applications, config.backbone)(
        include_top=False,
        weights=None,
        input_tensor=rescaled(inputs, family(config.backbone).input_scale),
        pooling="avg",
    )
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = config.batch_norm_momentum  # The shards' is one for all statistics.
    return keras.Model(inputs, classifier(backbone.output, config, classes), name=config.name)
