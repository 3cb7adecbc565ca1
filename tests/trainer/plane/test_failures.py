"""The failure policy: what each count does at its limit and beyond it."""

import pytest
from pydantic import ValidationError

from manylabel.trainer.plane.failures import (
    Budget,
    FailureConfig,
    FailureCounts,
    GradientBudget,
    RecordBudget,
    Seen,
    judge,
)

COUNTS = {
    "max_bad_records": 3,
    "max_rejected_in_a_row": 2,
    "max_rejected_gradients": 5,
    "max_worker_restarts": 1,
}
CONFIG = FailureConfig.model_validate(COUNTS)
MANY = Seen(10**9, 10**9, 10**9)


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
    stop = judge(counts, MANY, CONFIG, "the last straw")
    if setting is None:
        assert stop is None
    else:
        assert stop is not None
        assert f"trainer.failures.{setting}" in stop.reason
        assert stop.reason.endswith("the last: the last straw")
        assert stop.save == ("rejected" not in setting), "after NaN the weights are not sound"


def test_a_limit_of_zero_stops_at_the_first():
    config = FailureConfig.model_validate({"max_bad_records": 0})
    assert judge(FailureCounts(bad_records=1), MANY, config, "") is not None


@pytest.mark.parametrize("field", list(FailureConfig.model_fields))
def test_negative_limits_are_refused(field):
    with pytest.raises(ValidationError, match=field):
        FailureConfig.model_validate({field: -1})


BUDGETS = [
    ("max_bad_records", "bad_records", "records"),
    ("max_rejected_gradients", "rejected_gradients", "gradients"),
    ("max_worker_restarts", "worker_deaths", "updates"),
]


@pytest.mark.parametrize(("setting", "count", "of"), BUDGETS)
def test_a_share_counts_where_it_is_more_than_the_floor(setting, count, of):
    config = FailureConfig.model_validate({setting: {"floor": 5, "share": 0.01}})
    for seen, most in [(0, 5), (500, 5), (600, 6), (1_000_000, 10_000)]:
        everything = Seen(**{of: seen})
        assert judge(FailureCounts(**{count: most}), everything, config, "") is None
        stop = judge(FailureCounts(**{count: most + 1}), everything, config, "the last")
        assert stop is not None
        told = f"trainer.failures.{setting} = {{floor: 5, share: 0.01}} allows, which is {most:,}"
        assert f"{told} by now, after {seen:,} {of}; the last: the last" in stop.reason
        assert "\n" not in stop.reason


@pytest.mark.parametrize(("setting", "count", "of"), BUDGETS)
def test_neither_does_a_large_run_end_for_little_nor_a_small_one_survive_half(setting, count, of):
    config = FailureConfig()
    large = Seen(**{of: 350_000_000})
    assert judge(FailureCounts(**{count: 30_000}), large, config, "") is None
    if setting != "max_worker_restarts":  # a machine that is taken away is no part of the data
        small = config.of_a_run(records=60, gradients=60)
        assert judge(FailureCounts(**{count: 6}), Seen(**{of: 12}), small, "") is None
        assert judge(FailureCounts(**{count: 7}), Seen(**{of: 60}), small, "") is not None


@pytest.mark.parametrize("setting", [setting for setting, _, _ in BUDGETS])
@pytest.mark.parametrize("count", [0, 7, 1_000_000])
def test_a_fixed_count_of_old_settings_means_the_same(setting, count):
    config = FailureConfig.model_validate({setting: count})
    for run in (config, config.of_a_run(records=10, gradients=10)):
        budget = getattr(run, setting)
        assert [budget.allowed(seen) for seen in (0, 10, 10**9)] == [count] * 3
    assert FailureConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_section_may_have_one_of_the_two():
    config = FailureConfig.model_validate({"max_bad_records": {"share": 0.5}})
    assert config.max_bad_records == RecordBudget(share=0.5)
    config = FailureConfig.model_validate({"max_rejected_gradients": {"floor": 1}})
    assert config.max_rejected_gradients == GradientBudget(floor=1)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (-1, "greater than"),
        (1.5, "valid integer"),
        (None, "valid integer"),
        ("many", "valid integer"),
        ({"share": 1.1}, "less than or equal to 1"),
        ({"flor": 1}, "not permitted"),
    ],
)
def test_what_is_no_budget_is_refused(value, problem):
    with pytest.raises(ValidationError, match=problem):
        FailureConfig.model_validate({"max_bad_records": value})


def test_the_floor_of_a_small_run_is_a_tenth_of_it():
    budget = Budget(floor=100, share=0.01)
    floors = [budget.of_a_run(total).floor for total in (0, 1, 10, 11, 999, 1000, 10**9)]
    assert floors == [0, 1, 1, 2, 100, 100, 100]
