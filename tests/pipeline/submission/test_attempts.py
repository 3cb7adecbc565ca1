"""What follows from the end of an attempt."""

import signal

import pytest

from manylabel.pipeline.submission.attempts import LONGEST_WAIT_SECONDS, Ending, judge
from manylabel.storage.jobs import JobState


@pytest.mark.parametrize(
    ("ending", "state", "reason"),
    [
        (Ending(0, False), JobState.DONE, "done"),
        (Ending(0, True), JobState.DONE, "done"),
        (Ending(2, False, "a.csv: no such file"), JobState.FAILED, "a.csv: no such file"),
        (Ending(2, False), JobState.FAILED, "exit code 2"),
        (Ending(1, False, "internal error: X"), JobState.FAILED, "internal error: X"),
        (Ending(130, False, "stopped at step 3, saved"), JobState.STOPPED, "stopped at step 3"),
        (Ending(130, True), JobState.STOPPED, "stopped"),
        (Ending(75, True, "worker-1 was lost"), JobState.STOPPED, "worker-1 was lost"),
        (Ending(-signal.SIGKILL, True), JobState.STOPPED, "stopped"),
    ],
)
def test_what_would_end_the_same_way_is_not_tried_again(ending, state, reason):
    verdict = judge(ending, retries=1000, retried=0)
    assert verdict.state is state
    assert verdict.reason.startswith(reason)
    assert verdict.wait is None


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (Ending(75, False, "shard-0 was lost"), "shard-0 was lost"),
        (Ending(75, False), "exit code 75"),
        (Ending(-signal.SIGKILL, False, "error: x"), "its process was ended by SIGKILL"),
        (Ending(-signal.SIGSEGV, False), "its process was ended by SIGSEGV"),
    ],
)
def test_what_was_lost_is_tried_again(ending, reason):
    verdict = judge(ending, retries=3, retried=1)
    assert verdict.state is JobState.FAILED
    assert verdict.reason == f"{reason}; tried again in 10 s (2 of 3)"
    assert verdict.wait == 10.0


def test_each_wait_is_twice_the_last_and_bounded():
    waits = [judge(Ending(75, False), retries=10, retried=n).wait for n in range(10)]
    assert waits == [5, 10, 20, 40, 80, 160, *[LONGEST_WAIT_SECONDS] * 4]


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_retries_are_bounded(retries):
    verdicts = [judge(Ending(75, False, "lost"), retries, n) for n in range(retries + 1)]
    assert all(each.wait is not None for each in verdicts[:-1])
    assert verdicts[-1].wait is None
    given_up = f"; given up after {retries} retries" if retries else ""
    assert verdicts[-1].reason == f"lost{given_up}"
