"""Something that is done again and again beside the work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(
    call: Callable[[], object],
    seconds: float,
    name: str,
    *,
    last: Callable[[], object] = lambda: None,
) -> Iterator[Callable[[], None]]:
    """Calls a function every so many seconds while the block runs, in a thread of that name.

    No call is under way once the block is over. The first that raises is the last one.

    Args:
        last: called once the block is over, in its own thread, unless a call raised.

    Yields:
        Raises what a call raised, if one did: a block that takes long asks now and then, and ends.

    Raises:
        BaseException: what a call raised, unless the block failed by itself.
    """
    over = threading.Event()
    raised: list[BaseException] = []
    is_told = False

    def attempt(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:  # For the thread of the block, which has callers.
            raised.append(error)

    def repeat() -> None:
        while not (raised or over.wait(seconds)):
            attempt(call)

    def check() -> None:
        nonlocal is_told
        if raised:
            is_told = True
            raise raised[0]

    def end() -> None:
        over.set()
        thread.join()
        if not raised:
            attempt(last)

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield check
    except BaseException as error:
        end()
        if is_told and error is not raised[0]:  # Made of it on its way through the block.
            raise raised[0] from error
        raise
    end()
    check()
