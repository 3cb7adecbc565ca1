"""What is done again and again beside the work."""

import threading
from contextlib import suppress

import pytest

from manylabel.storage.repeating import repeating


def ended():
    return not any(each.name == "told" for each in threading.enumerate())


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
    assert ended()
    assert len(calls) == number


def test_it_ends_with_a_block_that_fails():
    with pytest.raises(ValueError, match="mistake"), repeating(lambda: None, 3600, "told"):
        raise ValueError("mistake")
    assert ended()


def test_a_call_that_fails_is_the_last_one_and_the_blocks_error_unless_it_has_one():
    calls = []

    def call():
        calls.append(threading.current_thread().name)
        raise LookupError("of the call")

    def beside(error):
        with repeating(call, 0.001, "told", last=lambda: calls.append("last")):
            while not ended():
                pass
            if error is not None:
                raise error

    with pytest.raises(LookupError, match="of the call"):
        beside(None)
    with pytest.raises(ValueError, match="of the block"):
        beside(ValueError("of the block"))
    assert calls == ["told"] * 2


def test_a_block_that_asks_ends_with_the_error_whatever_becomes_of_it_on_its_way():
    def call():
        raise LookupError("of the call")

    def beside():
        with repeating(call, 0.001, "told") as check:
            try:
                while True:
                    check()
            except LookupError as error:
                raise OSError("storage") from error

    with pytest.raises(LookupError, match="of the call"):
        beside()


@pytest.mark.parametrize("own", [ValueError("of the block"), KeyboardInterrupt("of the block")])
def test_a_block_that_goes_on_after_it_was_told_may_fail_by_itself(own):
    def call():
        raise LookupError("of the call")

    def beside():
        with repeating(call, 0.001, "told") as check:
            with suppress(LookupError):
                while True:
                    check()
            raise own

    with pytest.raises(type(own), match="of the block"):
        beside()


def test_the_last_call_is_the_blocks_own_and_hides_no_error_of_it():
    calls = []

    def last():
        calls.append(threading.current_thread())
        raise LookupError("of the call")

    def repeated():
        return repeating(lambda: None, 3600, "told", last=last)

    with pytest.raises(LookupError, match="of the call"), repeated():
        pass
    with pytest.raises(ValueError, match="of the block"), repeated():
        raise ValueError("of the block")
    assert calls == [threading.current_thread()] * 2
