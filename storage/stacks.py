"""SIGUSR2 shows where every thread of a process is: what to ask of one that does not go on."""

import faulthandler
import os
import select
import signal
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FrameType

_STDERR = 2
_SECONDS_TO_SHOW = 0.2  # what a helper takes at most to write its own, before the next is named
_SECONDS_TO_ARRIVE = 0.02  # from the first byte of what one signal writes to its last
_PIPE_BYTES = 65_536  # what a pipe holds at most
_END = b"\0"  # what the handlers do not write
_PROCESSES = Path("/proc")
_MARK = "manylabel-stacks"


def show_stacks_on_signal(*, of_helpers: bool = False, descriptor: int = _STDERR) -> None:
    """From now on SIGUSR2, whose own meaning is to end the process, writes all stacks instead.

    The stack of the thread that the signal interrupts is written by a handler in C, so also while a
    library holds the interpreter; that is the main thread, if it is this one. The others move while
    it does not hold them, and to follow their frames then can crash: they are written a moment
    later, by a thread that holds the interpreter.

    Where there is no such signal, this does nothing. To be called by our commands and the processes
    that they start, never on import: the process of who uses the library is not ours.

    Args:
        of_helpers: hand the signal on to the processes that this one started.
        descriptor: of an open file; standard error follows where it is led later.
    """
    global _watch
    if not hasattr(faulthandler, "register") or not hasattr(signal, "SIGUSR2"):
        return
    # The thread that waits for it is not to hear it, nor this one while it has its own meaning; who
    # started us has blocked it until now.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    stop_showing_stacks()
    _watch = _Watch(descriptor, of_helpers)
    _end_in_children()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})


def stop_showing_stacks() -> bool:
    """Gives SIGUSR2 its own meaning back; whether it had ours. In the thread that gave it ours."""
    global _watch
    if _watch is None:
        return False
    _watch.end()
    _watch = None
    return True


@contextmanager
def stacks_shown_meanwhile() -> Iterator[None]:
    """The same within someone else's process, while the block runs, helpers' stacks included.

    Only where SIGUSR2 would end that process: who handles, ignores or blocks it has a use for it.
    """
    if not _would_end_this_process():
        yield
        return
    show_stacks_on_signal(of_helpers=True)
    try:
        yield
    finally:
        stop_showing_stacks()


def _would_end_this_process() -> bool:
    if not hasattr(faulthandler, "register") or not hasattr(signal, "SIGUSR2"):
        return False
    return (
        signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
        and not _is_handled()
        and signal.SIGUSR2 not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    )


def _is_handled() -> bool:
    """In whichever way: Python does not know of handlers in C."""
    for line in _read(os.getpid(), "status").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGUSR2 - 1) & 1)
    return False


class _Watch:
    """Handlers of SIGUSR2, and a thread that waits for what they write to a pipe.

    In the main thread that is done by Python's own handler in C (`signal.set_wakeup_fd`), after
    faulthandler's has written the stack. Python handles signals for no other thread: there it is
    faulthandler's stack that the pipe is woken with.
    """

    def __init__(self, descriptor: int, of_helpers: bool):
        self._descriptor = descriptor
        self._of_helpers = of_helpers
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._is_main = threading.current_thread() is threading.main_thread()
        self._earlier_wakeup = -1  # that of an event loop whose process this is
        self._thread = threading.Thread(target=self._show, name="stacks", daemon=True)
        self._thread.start()
        if self._is_main:
            signal.signal(signal.SIGUSR2, _wakes_the_thread)
            self._earlier_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
            faulthandler.register(signal.SIGUSR2, descriptor, all_threads=False, chain=True)
        else:
            faulthandler.register(signal.SIGUSR2, self._writer, all_threads=False)
        # What other processes tell by that the signal shows stacks here.
        self._mark = os.memfd_create(_MARK) if hasattr(os, "memfd_create") else os.dup(self._reader)

    def end(self) -> None:
        self._stop_listening()
        os.set_blocking(self._writer, True)
        os.write(self._writer, _END)
        self._thread.join()
        self._close()

    def end_in_child(self) -> None:
        """In a process that was forked off: the thread stayed behind, and the pipe leads to it."""
        self._stop_listening()
        self._close()

    def _stop_listening(self) -> None:
        os.close(self._mark)
        faulthandler.unregister(signal.SIGUSR2)
        if self._is_main:
            signal.set_wakeup_fd(self._earlier_wakeup)
            signal.signal(signal.SIGUSR2, signal.SIG_DFL)

    def _close(self) -> None:
        os.close(self._writer)
        os.close(self._reader)

    def _show(self) -> None:
        written = select.poll()
        written.register(self._reader, select.POLLIN)
        while True:
            written.poll()
            time.sleep(_SECONDS_TO_ARRIVE)
            woken_by = os.read(self._reader, _PIPE_BYTES)
            if self._is_of_signal(woken_by):
                faulthandler.dump_traceback(self._descriptor, all_threads=True)
                if self._of_helpers:
                    _show_those_of_helpers()
            if self._earlier_wakeup >= 0:
                with suppress(OSError):
                    os.write(self._earlier_wakeup, woken_by.replace(_END, b""))
            if _END in woken_by:
                return

    def _is_of_signal(self, woken_by: bytes) -> bool:
        """Python's handler writes the numbers of all signals that Python handles."""
        return signal.SIGUSR2 in woken_by if self._is_main else woken_by != _END


_watch: _Watch | None = None


@cache
def _end_in_children() -> None:
    """The user's own processes may be forked off; once for each process that shows stacks."""

    def end() -> None:
        global _watch
        if _watch is not None:
            _watch.end_in_child()
            _watch = None

    os.register_at_fork(after_in_child=end)


def _wakes_the_thread(number: int, frame: FrameType | None) -> None:
    """For Python to handle the signal, that is, to write its number to the pipe."""


def _show_those_of_helpers() -> None:
    found = list(helpers())
    which = "; those of its helpers follow" if found else ""
    _tell(f"stacks of process {os.getpid()} above{which}")
    for process in found:
        with suppress(OSError):  # it ended meanwhile
            _show_of_helper(process)


def _show_of_helper(process: int) -> None:
    handle = os.pidfd_open(process)
    try:
        # Asked once more, now that no other process can take its place.
        if shows_stacks(process):
            _tell(f"stacks of {_name(process)}, process {process}: {_where_it_writes(process)}")
            signal.pidfd_send_signal(handle, signal.SIGUSR2)
            time.sleep(_SECONDS_TO_SHOW)
    finally:
        os.close(handle)


def helpers() -> Iterator[int]:
    """Processes below this one that show their stacks, Ray's below its own included.

    Not what is below those: of helpers that have helpers, they hand it on themselves.
    """
    children = _children()
    waiting = [os.getpid()]
    while waiting:
        for process in children.get(waiting.pop(), ()):
            if shows_stacks(process):
                yield process
            else:
                waiting.append(process)


def shows_stacks(process: int) -> bool:
    """Whether it does so on SIGUSR2, which ends others, or means to them what we do not know."""
    folder = _PROCESSES / str(process) / "fd"
    with suppress(OSError):  # It has ended, or is another user's.
        return any(_leads_to(each).startswith(f"/memfd:{_MARK} ") for each in folder.iterdir())
    return False


def _leads_to(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # The file was closed meanwhile.
        return ""


def this_process_shows_stacks() -> bool:
    """Whether SIGUSR2 shows them now."""
    return _watch is not None


def _children() -> Mapping[int, list[int]]:
    """Of each process of this machine those that it started; empty where no /proc tells."""
    children: dict[int, list[int]] = {}
    for folder in sorted(_PROCESSES.glob("[0-9]*")):
        fields = _read(int(folder.name), "stat").rpartition(")")[2].split()
        if len(fields) > 1:
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    return children


def _name(process: int) -> str:
    return " ".join(_read(process, "cmdline").replace("\0", " ").split())[:100]


def _where_it_writes(process: int) -> str:
    """A file of its own, or else the same terminal or pipe as this process."""
    stderr = _PROCESSES / str(process) / "fd" / str(_STDERR)
    theirs, ours = stderr.stat(), os.fstat(_STDERR)
    is_same = (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
    return f"in {stderr.readlink()}" if stat.S_ISREG(theirs.st_mode) and not is_same else "below"


def _read(process: int, name: str) -> str:
    """Empty for a process that has ended, or is another user's."""
    try:
        return (_PROCESSES / str(process) / name).read_text("utf-8", "replace")
    except OSError:
        return ""


def _tell(line: str) -> None:
    with suppress(OSError):
        os.write(_STDERR, f"{line}\n".encode(errors="replace"))
