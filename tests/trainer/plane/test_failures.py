"""The failure policy: what each count does at its limit and beyond it."""

import pytest
from pydantic import ValidationError

from manylabel.trainer.plane.failures import FailureConfig, FailureCounts, judge

CONFIG = FailureConfig(
    max_bad_records=3,
    max_rejected_in_a_row=2,
    max_rejected_gradients=5,
    max_worker_restarts=1,
)


@pytest.mark.parametrize(
    ("counts", "setting"),
    [
        (FailureCounts(), None),
        (FailureCounts(bad_records=3), None),
        (FailureCounts(bad_records=4), "max_bad_records = 3"),
        (FailureCounts(rejected_gradients=5), None),
        (FailureCounts(rejected_gradients=6), "max_rejected_gradients = 5"),
        (FailureCounts(rejected_gradients=2, rejected_in_a_row=2), None),
        (FailureCounts(rejected_gradients=3, rejected_in_a_row=3), "max_rejected_in_a_row = 2"),
        (FailureCounts(worker_deaths=1), None),
        (FailureCounts(worker_deaths=2), "max_worker_restarts = 1"),
        (FailureCounts(3, 5, 2, 1), None),
    ],
)
def test_the_limit_itself_is_allowed_and_one_more_is_not(counts, setting):
    stop = judge(counts, CONFIG, "the last straw")
    if setting is None:
        assert stop is None
    else:
        assert stop is not None
        assert f"trainer.failures.{setting}" in stop.reason
        assert stop.reason.endswith("the last: the last straw")
        assert stop.save == ("rejected" not in setting), "after NaN the weights are not sound"


def test_a_limit_of_zero_stops_at_the_first():
    config = FailureConfig(max_bad_records=0)
    assert judge(FailureCounts(bad_records=1), config, "") is not None


@pytest.mark.parametrize("field", list(FailureConfig.model_fields))
def test_negative_limits_are_refused(field):
    with pytest.raises(ValidationError, match=field):
        FailureConfig.model_validate({field: -1})
