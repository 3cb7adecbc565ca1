"""Settings that go together badly: training runs with them, and learns little or nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.networks.backbone_config import KerasApplicationsConfig
from manylabel.trainer.networks.config import (
    InceptionV3Config,
    ResNetConfig,
    VGG16Config,
    XceptionConfig,
)
from manylabel.trainer.networks.keras_names import application
from manylabel.trainer.networks.loss_config import ClassReduction, UnknownKind
from manylabel.trainer.plane.optimizers import RMSprop

# From where on epsilon outweighs the mean square of usual gradients: with 1e-3 a step's size does
# not depend on the gradient's, with 1 it is proportional to it.
LARGE_EPSILON = 1e-2

# Images of a label an epoch that move it when epsilon is 1. Measured at 46,000 images and 17,000
# labels: after 360 updates with epsilon 1 the weighted MAP is that of the baseline, with 1e-3 and
# mean squares from zero it is 1.04 times that, and 1.09 after 720.
FEW_IMAGES = 100

_WITH_L2_OF_THEIR_OWN = (XceptionConfig, InceptionV3Config, ResNetConfig, VGG16Config)


def recipe_warnings(config: TrainerConfig, train_counts: NDArray[np.int64]) -> list[str]:
    """A line for each problem: what is set, what comes of it, and what to set instead.

    Args:
        train_counts: training images that have each class, int64 [C].
    """
    return [*_of_epsilon(config, train_counts), *_of_l2(config), *_of_input_scale(config)]


def _of_epsilon(config: TrainerConfig, train_counts: NDArray[np.int64]) -> Iterator[str]:
    optimizer, loss = config.optimizer, config.loss
    if not isinstance(optimizer, RMSprop) or optimizer.epsilon < LARGE_EPSILON:
        return
    setting = f"trainer.optimizer.epsilon is {optimizer.epsilon:g}"
    classes = len(train_counts)
    if loss.class_reduction is ClassReduction.MEAN and loss.unknown is UnknownKind.NEGATIVE:
        yield (
            f"{setting} and trainer.loss.class_reduction is mean: the gradient of a mean over "
            f"{classes:,} labels is so small beside it that nothing is learnt; set class_reduction "
            f"to sum, or epsilon below {LARGE_EPSILON:g}"
        )
    rare = int(np.count_nonzero(train_counts < FEW_IMAGES))
    if 2 * rare > classes:
        yield (
            f"{setting}, with which a label needs about {FEW_IMAGES} images an epoch to be learnt; "
            f"{rare:,} of {classes:,} labels have fewer. Below some ten million images set epsilon "
            "to 0.001 and mean_square_start to zeros"
        )


def _of_l2(config: TrainerConfig) -> Iterator[str]:
    """What stays behind when settings of one network are used for another; and MobileNets, whose
    authors "found that it was important to put very little or no weight decay on the depthwise
    filters" (arXiv 1704.04861, section 3.2)."""
    model, setting = config.model, f"trainer.l2 is {config.l2:g}"
    if isinstance(model, KerasApplicationsConfig):
        if model.backbone.startswith("MobileNet") and config.l2_depthwise is None and config.l2:
            yield (
                f"{setting} for the depthwise kernels of {model.backbone} too, which its authors "
                "gave little or none; set trainer.l2_depthwise to 0"
            )
        return
    for other in _WITH_L2_OF_THEIR_OWN:
        if config.l2 == other.DEFAULT_L2 != model.DEFAULT_L2:
            (name,) = get_args(other.model_fields["name"].annotation)
            yield (
                f"{setting}, which is what {name} was trained with; for {model.name} set it to "
                f"{model.DEFAULT_L2:g}, or leave it out"
            )


def _of_input_scale(config: TrainerConfig) -> Iterator[str]:
    """A file does not say what it was fed with. A checkpoint of ours does, and with a name it is
    known: those are compared when they are read."""
    model, weights = config.model, config.model.initial_weights
    there = application(model)
    if weights is None or there is None or Path(weights).suffix not in (".keras", ".h5"):
        return
    fed = getattr(model, "input_scale", there.input_scale)
    if fed is not there.input_scale:
        yield (
            f"trainer.model.input_scale is {fed}, and trainer.model.initial_weights is {weights}: "
            f"{there.name} expects input_scale={there.input_scale} where the file is "
            "keras.applications'; set that, unless it was trained with another"
        )
