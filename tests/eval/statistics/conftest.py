"""Held-out sets as they are drawn: some images have near-duplicates, which score alike."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

# Fixed before any of the simulations ran.
SEED = 13


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def near_duplicates() -> Callable[..., NDArray[np.int64]]:
    """near_duplicates(images): the group of each; 15% of the images are in groups of five."""

    def groups(images: int) -> NDArray[np.int64]:
        fives = int(0.15 * images) // 5
        sizes = np.concatenate([np.full(fives, 5), np.ones(images - 5 * fives, dtype=int)])
        return np.repeat(np.arange(len(sizes)) * 7919, sizes)

    return groups


@pytest.fixture(scope="session")
def draw_scores(
    near_duplicates: Callable[..., NDArray[np.int64]],
) -> Callable[..., NDArray[np.float64]]:
    """draw_scores(random, images, models): of each model on the same images, [models, images].

    Every model's true mean is 0.25. Most of an image's score is its own, the same for all models,
    and near-duplicates differ by a tenth. Two models differ by 0.15 an image (standard deviation),
    as two checkpoints measured at the paper's shape do.
    """

    def draw(random: np.random.Generator, images: int, models: int) -> NDArray[np.float64]:
        _, group = np.unique(near_duplicates(images), return_inverse=True)
        shared = _by_group(random, (1, images), group)
        return 0.6 * shared + 0.4 * _by_group(random, (models, images), group)

    return draw


def _by_group(
    random: np.random.Generator, shape: tuple[int, int], group: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Skewed, from 0 to 1, mean 0.25; nine tenths are the same within a group."""
    own, common = random.random(shape) ** 3, random.random(shape) ** 3
    return 0.9 * common[:, group] + 0.1 * own
