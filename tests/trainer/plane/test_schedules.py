"""The schedules against Keras's decay and TensorFlow's moving average."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from manylabel.trainer.plane.schedules import (
    AverageDecay,
    ExponentialDecay,
    PolyakAverage,
    ScheduleUnit,
)


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
    ("updates", "expected"),
    # By hand; the demo has 652 updates, and fewer than 10 leave no average.
    [(652, 0.98466), (10_000, 0.999), (30_000_000, 1 - 1 / 3e6), (12, 1 / 6), (9, 0), (0, 0)],
)
def test_an_automatic_decay_follows_the_runs_length(updates, expected):
    averaging = PolyakAverage(decay="auto", warm_up=False).over(updates)
    assert averaging.decay_at(1) == pytest.approx(expected, abs=5e-6)
    assert not averaging.warm_up


def test_an_automatic_average_forgets_the_first_nine_tenths():
    """What is left of the first weights when a tenth of the updates is still to come, and after
    them, is (1 - 10/n)^(.9 n), which is e^-9, and e^-10."""
    averaging = PolyakAverage(decay="auto", warm_up=False).over(5000)
    kept = np.cumprod([averaging.decay_at(step) for step in range(1, 5001)])
    assert kept[4499] == pytest.approx(np.exp(-9), rel=0.02)
    assert kept[-1] == pytest.approx(np.exp(-10), rel=0.02)


def test_a_given_decay_holds_for_any_length():
    averaging = PolyakAverage(decay=0.97)
    assert averaging.over(5) is averaging


def test_an_automatic_decay_needs_the_length_first():
    with pytest.raises(ValueError, match="auto"):
        PolyakAverage(decay="auto").decay_at(1)


@pytest.mark.parametrize("decay", ["auto", 0.97])
def test_a_decay_reads_back_from_json(decay):
    averaging = PolyakAverage(decay=decay)
    assert PolyakAverage.model_validate_json(averaging.model_dump_json()) == averaging
    assert (averaging.decay is AverageDecay.AUTO) == (decay == "auto")


@pytest.mark.parametrize("decay", [1, -0.1, "often", None, True, float("nan"), [0.9]])
def test_a_wrong_decay_is_one_problem_that_says_what_was_expected(decay):
    with pytest.raises(ValidationError, match=r"expected auto or a number in \[0, 1\), received"):
        PolyakAverage(decay=decay)
    with pytest.raises(ValidationError, match="1 validation error"):
        PolyakAverage(decay=decay)


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
