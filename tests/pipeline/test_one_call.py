"""What a call from a script raises, and leaves of the process."""

import errno
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from contextlib import suppress

import keras
import pytest

from manylabel.pipeline.errors import CommandError, Interrupted
from manylabel.pipeline.one_call import one_call
from manylabel.storage.errors import DatasetError, ManylabelError


def test_another_thread_has_to_wait():
    raised = []

    def call():
        try:
            with one_call():
                pass
        except CommandError as error:
            raised.append(str(error))

    with one_call():
        with one_call():  # From on_event, which is told in this thread.
            pass
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    with one_call():
        pass
    (told,) = raised
    assert told.startswith("expected one call of manylabel at a time in a process, received")


def test_a_call_after_one_that_failed_is_a_call():
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), one_call():
            raise ZeroDivisionError
    outcomes = []

    def call():
        try:
            with one_call():
                outcomes.append("called")
        except CommandError as error:
            outcomes.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert outcomes == ["called"]


def test_being_told_to_stop_is_a_keyboard_interrupt():
    with pytest.raises(KeyboardInterrupt, match="stopped at step 3, saved"), one_call():
        raise Interrupted("stopped at step 3, saved")


def test_the_systems_errors_are_told_as_the_command_line_does():
    with pytest.raises(ManylabelError, match=r"^run: No space left on device: /"), one_call():
        raise OSError(errno.ENOSPC, "No space left on device", "run")
    with pytest.raises(BrokenPipeError), one_call():
        raise BrokenPipeError


def test_what_a_library_makes_of_a_full_disk_is_told_too(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/proc/self")
    told = r"^No space left on device: .*/proc has 0 bytes of 0 bytes free.*; make room there"
    with pytest.raises(CommandError, match=told), one_call():
        raise RuntimeError("unable to close file (errno = 28, 'No space left on device')")
    with pytest.raises(DatasetError, match=r"^a: damaged$"), one_call():
        raise DatasetError("a: damaged") from OSError(errno.ENOSPC, "No space left on device")


def test_all_is_as_before(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    state = dict(os.environ), random.getstate(), warnings.filters[:], logging.root.handlers[:]
    level = logging.getLogger("ray").level
    with suppress(ZeroDivisionError), one_call():
        assert os.environ["KERAS_BACKEND"] == "tensorflow"
        assert "GRPC_VERBOSITY" in os.environ
        assert "PYTHONWARNINGS" not in os.environ
        assert logging.getLogger("ray").level == logging.ERROR
        random.random()
        logging.root.addHandler(logging.NullHandler())
        raise ZeroDivisionError
    assert state == (
        dict(os.environ),
        random.getstate(),
        warnings.filters[:],
        logging.root.handlers[:],
    )
    assert logging.getLogger("ray").level == level


SIGNALLED = """if True:
    import faulthandler, signal, sys, threading
    from manylabel.pipeline.one_call import one_call
    send = lambda: signal.raise_signal(signal.SIGUSR2)
    with one_call():
        with one_call():
            pass
        send()
    def in_another_thread():
        with one_call():
            send()
    thread = threading.Thread(target=in_another_thread)
    thread.start()
    thread.join()
    theirs = []
    signal.signal(signal.SIGUSR2, lambda number, frame: theirs.append(number))
    with one_call():
        send()
    assert theirs == [signal.SIGUSR2]
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    faulthandler.register(signal.SIGUSR2, sys.stdout)
    with one_call():
        send()
    assert faulthandler.unregister(signal.SIGUSR2)
    send()
"""


def test_the_signal_for_stacks_shows_them_and_does_so_during_a_call_alone():
    command = [sys.executable, "-c", SIGNALLED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGUSR2, done.stderr
    assert done.stderr.count("in in_another_thread") == 1
    assert done.stderr.count("in <module>") == 3, "twice where it is the interrupted thread"
    assert done.stdout.count("in <module>") == 1, "where the caller shows them"


def test_keras_that_computes_in_another_way_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(CommandError, match="channels_last in this process, received channels_"):
            one_call().__enter__()
    finally:
        keras.config.set_image_data_format("channels_last")
    with one_call():
        pass


def test_no_file_takes_the_place_of_a_stream_that_is_closed(tmp_path):
    """As where a daemon calls: what TensorFlow prints would go into it."""
    script = (
        "import os, sys\n"
        "from manylabel.pipeline.one_call import one_call\n"
        "from manylabel.pipeline.quiet import quiet_imports\n"
        "assert sys.stdout is sys.stderr is None\n"
        "with one_call(), quiet_imports():\n"
        "    opened = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\n"
        "assert not any(os.path.exists(f'/proc/self/fd/{n}') for n in (1, 2))\n"
        "os.write(opened, str(opened > 2).encode())\n"
    )
    place = str(tmp_path / "opened")
    command = ["sh", "-c", 'exec "$0" -c "$1" "$2" >&- 2>&-', sys.executable, script, place]
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "opened").read_text() == "True"
