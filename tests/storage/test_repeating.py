"""What is done again and again beside the work."""

import threading

import pytest

from manylabel.storage.repeating import repeating


def test_it_is_done_beside_the_block_and_not_after_it():
    calls, again = [], threading.Event()

    def call():
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            again.set()

    with repeating(call, 0.001, "told"):
        assert again.wait(60)
    number = len(calls)
    assert set(calls) == {"told"}
    assert not [each for each in threading.enumerate() if each.name == "told"]
    assert len(calls) == number


def test_it_ends_with_a_block_that_fails():
    with pytest.raises(ValueError, match="mistake"), repeating(lambda: None, 3600, "told"):
        raise ValueError("mistake")
    assert not [each for each in threading.enumerate() if each.name == "told"]
