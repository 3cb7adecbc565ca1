"""What follows the features in every network: fully connected layers and the classifier."""

import keras
from keras import layers

from manylabel.trainer.networks.head_config import Activation, NetworkConfig
from manylabel.trainer.networks.layers import batch_norm

CLASSIFIER = "predictions"
"""Name of the last layer, the logistic regression."""


def classifier(
    x: keras.KerasTensor, config: NetworkConfig, classes: int, *, drop_each: bool = False
) -> keras.KerasTensor:
    """Optional fully connected layers and dropout, then the logistic regression's logits.

    Args:
        x: features [B, F].
        drop_each: drop after each fully connected layer, and not only before the classifier.
    """
    last = len(config.fully_connected)
    for index, units in enumerate(config.fully_connected, start=1):
        name = f"fully_connected{index}"
        normalised = config.fully_connected_batch_norm
        x = layers.Dense(units, use_bias=not normalised, name=name)(x)
        if normalised:
            x = batch_norm(x, config, name)
        if config.fully_connected_activation is not Activation.NONE:
            x = layers.Activation(config.fully_connected_activation, name=f"{name}_act")(x)
        if drop_each and config.dropout > 0 and index < last:
            x = layers.Dropout(config.dropout, name=f"{name}_dropout")(x)
    if config.dropout > 0:
        x = layers.Dropout(config.dropout, name="dropout")(x)
    # float32 under every policy: thousands of logits are ranked, and bfloat16 keeps 8 bits.
    return layers.Dense(classes, dtype="float32", name=CLASSIFIER)(x)
