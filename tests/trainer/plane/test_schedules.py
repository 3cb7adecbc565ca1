"""The schedules against Keras's decay and TensorFlow's moving average."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from manylabel.trainer.plane.schedules import ExponentialDecay, PolyakAverage, ScheduleUnit


@pytest.mark.parametrize("staircase", [True, False])
@pytest.mark.parametrize("unit", list(ScheduleUnit))
def test_decay_equals_keras(unit, staircase):
    schedule = ExponentialDecay(
        learning_rate=0.045, decay_rate=0.94, decay_every=70, unit=unit, staircase=staircase
    )
    golden = keras.optimizers.schedules.ExponentialDecay(0.045, 70, 0.94, staircase)
    for progress in (0, 1, 69, 70, 71, 139, 140, 700, 12_345):
        counted = {"samples": 0, "steps": 0, unit.value: progress}
        other = {"samples": 999, "steps": 999, unit.value: progress}
        assert schedule.at(**counted) == pytest.approx(float(golden(progress)), rel=1e-5)
        assert schedule.at(**other) == schedule.at(**counted)


def test_the_papers_jft_schedule():
    schedule = ExponentialDecay()
    assert schedule.at(samples=2_999_999, steps=0) == 0.001
    assert schedule.at(samples=3_000_000, steps=0) == pytest.approx(0.0009)
    assert schedule.at(samples=9_500_000, steps=0) == pytest.approx(0.001 * 0.9**3)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9999])
def test_warm_up_equals_tensorflows_moving_average(decay):
    steps = tf.Variable(0)
    value = tf.Variable(3.0)
    golden = tf.train.ExponentialMovingAverage(decay, num_updates=steps)
    golden.apply([value])  # makes the average, from the value of now
    averaging = PolyakAverage(decay=decay, warm_up=True)
    average = 3.0
    for step in range(1, 60):
        value.assign(float(np.cos(step)))
        steps.assign(step)
        golden.apply([value])
        kept = averaging.decay_at(step)
        average = kept * average + (1 - kept) * float(value)
        assert average == pytest.approx(float(golden.average(value)), abs=1e-6)


def test_without_warm_up_the_decay_is_constant():
    averaging = PolyakAverage(decay=0.99, warm_up=False)
    assert {averaging.decay_at(step) for step in (1, 10, 100_000)} == {0.99}


def test_warm_up_ends_at_the_decay():
    averaging = PolyakAverage(decay=0.99)
    assert averaging.decay_at(1) == 2 / 11
    assert averaging.decay_at(10_000) == 0.99


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 0},
        {"decay_rate": 0},
        {"decay_rate": 1.5},
        {"decay_every": 0},
        {"unit": "epochs"},
        {"decay": 0.9},
    ],
)
def test_wrong_decays_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ExponentialDecay.model_validate(wrong)


@pytest.mark.parametrize("wrong", [{"decay": 1}, {"decay": -0.1}, {"warm_up": "maybe"}, {"rho": 1}])
def test_wrong_averages_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        PolyakAverage.model_validate(wrong)
