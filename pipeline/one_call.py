"""A stage within someone else's process: one at a time, and nothing of it stays."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from manylabel.pipeline.errors import CommandError, Interrupted, told
from manylabel.pipeline.quiet import quiet_for_a_while
from manylabel.pipeline.streams import open_closed_streams
from manylabel.storage.errors import ManylabelError
from manylabel.storage.stacks import stacks_shown_meanwhile

# Of the thread that is in a call: what it is told of in that thread may call us again.
_under_way = threading.RLock()


@contextmanager
def one_call() -> Iterator[None]:
    """The block has the process to itself, as far as we are concerned.

    Raises:
        CommandError: another thread is in a call; what came of a full disk, and the system's
            errors that a user can mend; or Keras computes with something else here.
        KeyboardInterrupt: in place of Interrupted, with its text.
    """
    if not _under_way.acquire(blocking=False):
        raise CommandError(
            "expected one call of manylabel at a time in a process, received a second one from "
            "another thread; wait for the first, or call from another process"
        )
    try:
        _check_keras()
        with ExitStack() as stack:
            for descriptor in open_closed_streams():
                stack.callback(os.close, descriptor)
            stack.enter_context(quiet_for_a_while())
            stack.enter_context(stacks_shown_meanwhile())
            yield
    except Interrupted as stop:
        raise KeyboardInterrupt(str(stop)) from stop
    except ManylabelError:
        raise
    except Exception as error:
        if (ours := told(error)) is None:
            raise
        raise ours from error
    finally:
        _under_way.release()


def _check_keras() -> None:
    """Only where it is loaded already: else it will be as we need it."""
    keras = sys.modules.get("keras")
    if keras is None:
        return
    for setting, ours, theirs in (
        ("backend", "tensorflow", keras.config.backend()),
        ("image_data_format", "channels_last", keras.config.image_data_format()),
        ("floatx", "float32", keras.config.floatx()),
    ):
        if theirs != ours:
            raise CommandError(
                f"expected Keras with {setting} {ours} in this process, received {theirs}; set it "
                "before, or call from another process"
            )
