"""The same random weights in a network of ours and in its reference."""

from collections.abc import Callable

import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True, scope="module")
def forgotten() -> None:
    """Lets go of earlier models: among thousands of their functions, XLA takes a minute for one."""
    keras.backend.clear_session()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The kernels are random: how far rounding grows in fifty layers hangs on them."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def randomise() -> Callable[[keras.Model], None]:
    """Gives a model's normalisations and biases other values than they begin with."""
    return _randomise


def _randomise(model: keras.Model) -> None:
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in (layer.gamma, layer.moving_variance):
                if variable is not None:
                    variable.assign(generator.uniform(0.5, 1.5, variable.shape))
            for variable in (layer.beta, layer.moving_mean):
                variable.assign(generator.normal(0, 0.2, variable.shape))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(generator.normal(0, 0.2, layer.bias.shape))


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    """noise(count, size): images float32 [count, size, size, 3] in [-1, 1]."""

    def make(count: int, size: int, seed: int = 1) -> np.ndarray:
        random = np.random.default_rng(seed)
        return random.uniform(-1, 1, (count, size, size, 3)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def equal_outputs(noise) -> Callable[..., None]:
    """equal_outputs(ours, reference, images): copies the reference's weights, layer by layer in the
    models' order, and compares the logits and what training does to the statistics.

    `fed`: what the reference sees in place of the images.
    """

    def check(
        ours: keras.Model,
        reference: keras.Model,
        images: np.ndarray,
        fed: np.ndarray | None = None,
        rtol: float = 0,
    ) -> None:
        pairs = list(zip(_weighted(ours), _weighted(reference), strict=True))
        for own, other in pairs:
            assert [w.shape for w in own.weights] == [w.shape for w in other.weights], own.name
            for variable, source in zip(own.weights, other.weights, strict=True):
                variable.assign(source.numpy())
        fed = images if fed is None else fed
        for training in (False, True):
            expected = reference(fed, training=training).numpy()
            assert np.abs(expected).max() > 0.5
            received = ours(images, training=training).numpy()
            np.testing.assert_allclose(received, expected, rtol=rtol, atol=1e-5)
        for own, other in pairs:
            for mine, theirs in zip(
                own.non_trainable_weights, other.non_trainable_weights, strict=True
            ):
                np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-5)

    return check


def _weighted(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if layer.weights]
