"""Leaving a cluster that hangs: some calls of Ray's never return then, and hear no signal."""

import threading
from collections.abc import Callable

abandoned = threading.Event()
"""Set once such a call was given up: nor would what Ray does when the interpreter ends return, so
that the process is to be ended without."""


def within(seconds: float, call: Callable[[], object]) -> bool:
    """Calls it in a thread, and waits for it no longer than that; whether it returned.

    Raises:
        Exception: what it raised; KeyboardInterrupt of the waiting thread.
    """
    errors: list[BaseException] = []
    returned = threading.Event()  # a thread whose join is interrupted calls itself ended

    def carry_out() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)
        finally:
            returned.set()

    threading.Thread(target=carry_out, name="leaving-ray", daemon=True).start()
    try:
        returned.wait(seconds)
    finally:
        if not returned.is_set():
            abandoned.set()
    if errors:
        raise errors[0]
    return returned.is_set()
