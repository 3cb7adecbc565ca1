"""A process that carries out a module of ours, and nothing of the user's.

multiprocessing would import the script of whoever calls us once more, where its start method is not
fork: a script without a main guard then does everything again, and one from standard input cannot
be imported at all. What our processes are told is of our own making, so none needs to see it.
"""

import fcntl
import importlib
import os
import pickle
import select
import signal
import site
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any, Self

from manylabel.storage.errors import described
from manylabel.storage.stacks import show_stacks_on_signal
from manylabel.storage.stop_signals import STOP_SIGNALS

# Not resolved: in a clone, what is below it are links.
_IMPORTED_FROM = str(Path(__file__).absolute().parents[2])


class OwnProcess:
    """A process that calls a module's `main` with its end of a connection; started at once.

    It ends when this one does. As a context, it is ended with the block.

    Args:
        module: its full name; `main(connection)` may return or not.
        environment: all of its variables.
        output: the file that it prints to; None: where this process does.

    Attributes:
        connection: to it; at its end when the process has ended.
        pid: its id.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self, module: str, environment: Mapping[str, str], output: IO[bytes] | None = None
    ) -> None:
        self.connection, theirs = Pipe()
        their_lifeline, self._lifeline = Pipe(duplex=False)
        with theirs, their_lifeline:
            try:
                self._process = _start(
                    module, environment, theirs.fileno(), their_lifeline.fileno(), output
                )
            except BaseException:
                self._hang_up()
                raise
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def send(self, message: Any) -> None:
        """Never raises because the process has ended: the end of its answers says so."""
        payload = pickle.dumps(message)
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(payload)

    def wait(self, seconds: float | None = None) -> int | None:
        """Waits until it has ended by itself; its exit code, or minus the signal that ended it.

        Args:
            seconds: at the longest; None is returned when they are over.
        """
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Ends it at once, and waits until it is gone; what it answered can still be read."""
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """Ends it at once, if it has not ended by itself.

        Returns:
            Its exit code, or minus the signal that ended it.
        """
        self.kill()
        self._hang_up()
        return self._process.returncode

    def _hang_up(self) -> None:
        self.connection.close()
        self._lifeline.close()


def python_path(environment: Mapping[str, str]) -> dict[str, str]:
    """PYTHONPATH for a process that is to import this very package, as a variable to set.

    Empty where each process finds it: it is installed. Else it was found by what the user's script
    or notebook added to sys.path, or by the current folder, of which a new process knows nothing;
    it would take another copy that is installed, or none.
    """
    before = environment.get("PYTHONPATH", "")
    installed = {*site.getsitepackages(), site.getusersitepackages()}
    if _IMPORTED_FROM in installed or _IMPORTED_FROM in before.split(os.pathsep):
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, (_IMPORTED_FROM, before)))}


def portable(error: Exception, substitute: type[Exception] = RuntimeError) -> Exception:
    """The exception if it survives the journey, with its traceback as a note; else its text, as a
    `substitute`."""
    error.add_note("".join(traceback.format_exception(error)).rstrip())
    try:
        # Many can be pickled and then not be made again, because they want other arguments.
        pickle.loads(pickle.dumps(error))
    except Exception:
        return substitute(described(error))
    return error


def describe_end(code: int) -> str:
    """As in "by signal 9 (SIGKILL)" or "with exit code 1"."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # a real-time one
        return f"by signal {-code}"


def _start(
    module: str,
    environment: Mapping[str, str],
    connection: int,
    lifeline: int,
    output: IO[bytes] | None,
) -> subprocess.Popen[bytes]:
    """Starts the interpreter anew; whatever bears the name of one of Python's modules in the
    current folder is not imported either."""
    serve = "from manylabel.storage.own_process import serve"
    call = f"serve({module!r}, {connection}, {lifeline})"
    # The process inherits it and never hears of what a terminal or scheduler tells the whole group:
    # when to stop is for the parent to decide. SIGUSR2 would end it until it is there to show its
    # stacks.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, signal.SIGUSR2})
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", f"{serve}; {call}"],
            env={**environment, **python_path(environment)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(connection, lifeline),
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(module: str, connection: int, lifeline: int) -> None:
    """What the process does.

    Args:
        connection: file descriptor of a socket to the parent.
        lifeline: reading end of a pipe whose other end the parent has; nothing is ever written.
    """
    show_stacks_on_signal()
    _end_with(lifeline)
    importlib.import_module(module).main(Connection(connection))


def _end_with(lifeline: int) -> None:
    """Has the kernel end this process when the parent ends, whatever either is doing.

    A thread that waits for it would not come to its turn while a library holds the interpreter,
    and PR_SET_PDEATHSIG goes by the thread that started us, which may end before the parent.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # which is to end
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it ended before
        os._exit(0)
