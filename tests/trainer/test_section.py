"""Numbers that float32 cannot hold, in every setting that training computes with."""

import pytest
from pydantic import ValidationError

from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.section import TrainerSection


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ({"schedule": {"learning_rate": 1e-60}}, "expected at least 1.4e-45, received 1e-60"),
        ({"schedule": {"learning_rate": 1e39}}, r"at most 3.4e\+38, received 1e\+39, which is inf"),
        ({"optimizer": {"name": "rmsprop", "epsilon": 1e-50}}, "which is 0 in the float32"),
        ({"optimizer": {"name": "rmsprop", "rho": 1 - 1e-11}}, "at most 0.99999994"),
        ({"optimizer": {"name": "sgd", "momentum": 0.99999999999}}, "at most 0.99999994"),
        ({"averaging": {"decay": 1 - 1e-12}}, "at most 0.99999994"),
        ({"l2": 1e-50}, "which is 0"),
        ({"l2_depthwise": 1e300}, "which is inf"),
        ({"global_clipnorm": 1e-50}, "which is 0"),
        ({"loss": {"kind": "softmax", "label_smoothing": 1 - 1e-9}}, "at most 0.99999994"),
        ({"model": {"batch_norm_momentum": 1 - 1e-9}}, "at most 0.99999994"),
        ({"model": {"batch_norm_epsilon": 1e-46}}, "which is 0"),
        ({"model": {"dropout": 1 - 1e-9}}, "at most 0.99999994"),
        ({"input": {"augmentation": {"view": {"name": "shift", "fraction": 1e-50}}}}, "which is 0"),
        (
            {
                "input": {
                    "augmentation": {"view": {"name": "random_resized_crop", "area": [1e-50, 1]}}
                }
            },
            "which is 0",
        ),
        ({"updates": {"compensation": {"name": "dc_asgd", "epsilon": 1e-50}}}, "which is 0"),
    ],
)
def test_what_becomes_another_number_is_refused(tree, problem):
    with pytest.raises(ValidationError, match=problem):
        TrainerConfig.model_validate(tree)


def test_numbers_are_looked_at_however_deep_they_lie():
    class Piecewise(TrainerSection):
        pieces: tuple[tuple[float, float], ...]

    assert Piecewise(pieces=((1.0, 0.5),)).pieces == ((1.0, 0.5),)
    with pytest.raises(ValidationError, match="which is 0 in the float32"):
        Piecewise(pieces=((1.0, 0.5), (2.0, 1e-60)))


def test_what_float32_holds_is_taken_as_it_is():
    """Also subnormal numbers, 0, 1 where it may be 1, and what it only rounds a little."""
    config = TrainerConfig.model_validate(
        {
            "schedule": {"learning_rate": 1e-40, "decay_rate": 1 - 1e-11},
            "l2": 0.0,
            "optimizer": {"name": "sgd", "momentum": 0.9999999},
            "epochs": 0.1,
        }
    )
    assert config.schedule.learning_rate == 1e-40
    assert config.schedule.decay_rate == 1 - 1e-11
    assert (config.l2, config.epochs) == (0.0, 0.1)


def test_what_is_only_counted_or_waited_with_may_be_what_float32_cannot_hold():
    failures = TrainerConfig.model_validate(
        {"failures": {"max_bad_records": {"share": 1e-60}, "worker_silence_seconds": 1e300}}
    ).failures
    assert failures.max_bad_records.share == 1e-60
    assert failures.max_bad_records.allowed(10**9) == 100
    assert failures.worker_silence_seconds == 1e300
