"""Leaving a cluster that hangs: some calls of Ray's never return then, and hear no signal."""

import threading
from collections.abc import Callable

abandoned = threading.Event()
"""Set while such a call that was given up has not returned: nor would what Ray does when the
interpreter ends, so that the process is to be ended without."""

_given_up: set[threading.Event] = set()
_lock = threading.Lock()


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
            with _lock:
                returned.set()
                if returned in _given_up:
                    _given_up.remove(returned)
                    if not _given_up:
                        abandoned.clear()

    threading.Thread(target=carry_out, name="leaving-ray", daemon=True).start()
    try:
        returned.wait(seconds)
    finally:
        with _lock:
            if not returned.is_set():
                _given_up.add(returned)
                abandoned.set()
    if errors:
        raise errors[0]
    return returned.is_set()
