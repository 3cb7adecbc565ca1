"""What is done again when tasks are lost, one loss after the other."""

import pytest

from manylabel.preprocessing.executors.lost_tasks import NODE_LOSSES, End, History, Next, given_up


def decisions(ends, items=1):
    history, decided = History(), []
    for end in ends:
        history = history.after(end)
        decided.append(history.next(end, items))
    return decided


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([End.WORKER] * 3, [Next.AT_ONCE, Next.AT_ITS_TURN, Next.GIVEN_UP]),
        ([End.MEMORY] * 3, [Next.AT_ITS_TURN, Next.AT_ITS_TURN, Next.GIVEN_UP]),
        # A node that was lost is not held against what it was at.
        (
            [End.NODE, End.WORKER, End.NODE, End.WORKER, End.NODE],
            [Next.AT_ONCE, Next.AT_ONCE, Next.AT_ONCE, Next.AT_ITS_TURN, Next.AT_ONCE],
        ),
    ],
)
def test_a_single_item_is_given_up_when_its_process_ended_three_times(ends, expected):
    assert decisions(ends) == expected


@pytest.mark.parametrize("end", [End.WORKER, End.MEMORY])
def test_a_batch_that_ended_its_process_is_taken_apart(end):
    assert decisions([end], items=32) == [Next.ONE_BY_ONE]


@pytest.mark.parametrize("items", [1, 32])
def test_it_is_hopeless_when_nodes_are_lost_again_and_again(items):
    expected = [Next.AT_ONCE] * (NODE_LOSSES - 1) + [Next.HOPELESS]
    assert decisions([End.NODE] * NODE_LOSSES, items) == expected


def test_whoever_is_given_up_is_told_why():
    assert given_up(End.WORKER).reason == "its process ended three times"
    assert given_up(End.MEMORY).reason.endswith("the last time for want of memory")
