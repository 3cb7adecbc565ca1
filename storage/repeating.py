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

    def attempt(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:  # For the thread of the block, which has callers.
            raised.append(error)

    def repeat() -> None:
        while not (raised or over.wait(seconds)):
            attempt(call)

    def check() -> None:
        if raised:
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
        if raised and isinstance(error, Exception) and _was_made_of(error, raised[0]):
            raise raised[0] from error
        raise
    end()
    check()


def _was_made_of(error: BaseException, origin: BaseException) -> bool:
    """On the way through the block, which failed for no other reason."""
    each: BaseException | None = error.__cause__ or error.__context__
    while each is not None and each is not origin:
        each = each.__cause__ or each.__context__
    return each is not None
