"""Pieces that several networks are made of."""

import keras
from keras import layers, ops

from manylabel.trainer.networks.head_config import InputScale, NetworkConfig

# ImageNet's means and standard deviations, red first: of pixels in [0, 255] as Caffe's models have
# them, and in [0, 1] as torchvision's.
_CAFFE_MEAN = (123.68, 116.779, 103.939)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_DEVIATION = (0.229, 0.224, 0.225)


def images(config: NetworkConfig) -> keras.KerasTensor:
    """The input of every network: float32 [B, S, S, 3] in [-1, 1]."""
    return keras.Input((config.input_size, config.input_size, 3), name="images")


def rescaled(x: keras.KerasTensor, scale: InputScale) -> keras.KerasTensor:
    """Images in [-1, 1], red first, as `scale` says; as keras.applications' preprocess_input."""
    match scale:
        case InputScale.SYMMETRIC:
            return x
        case InputScale.PIXELS:
            return layers.Rescaling(127.5, 127.5, dtype="float32", name="pixels")(x)
        case InputScale.CAFFE:
            offset = [127.5 - mean for mean in _CAFFE_MEAN]
            x = layers.Rescaling(127.5, offset, dtype="float32", name="caffe")(x)
            return ops.flip(x, axis=-1)
        case InputScale.TORCH:
            factor = [0.5 / deviation for deviation in _TORCH_DEVIATION]
            offset = [
                (0.5 - mean) / deviation
                for mean, deviation in zip(_TORCH_MEAN, _TORCH_DEVIATION, strict=True)
            ]
            return layers.Rescaling(factor, offset, dtype="float32", name="torch")(x)


def batch_norm(
    x: keras.KerasTensor, config: NetworkConfig, name: str, *, scale: bool = True
) -> keras.KerasTensor:
    """Batch normalisation over all but the channels; `scale`: with a factor to be learnt."""
    return layers.BatchNormalization(
        momentum=config.batch_norm_momentum,
        epsilon=config.batch_norm_epsilon,
        scale=scale,
        name=f"{name}_bn",
    )(x)


def scaled(channels: int, width: float) -> int:
    """The nearest multiple of 8 to channels x width, at least 8."""
    return max(8, 8 * round(channels * width / 8))
