"""SIGUSR2: where threads are, of whichever process, in whatever state."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from manylabel.storage import stacks

DEADLINE = 60  # seconds; what is waited for takes a moment


@pytest.fixture
def started():
    """started(script, **options): a process that runs it, once it has printed "ready"."""
    processes = []

    def start(script, **options):
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def told(process: "subprocess.Popen[str]", end: str) -> str:
    """What it writes to standard error until it has written a line that begins with `end`."""
    assert process.stderr is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith(end):
        lines.append(process.stderr.readline())
        assert lines[-1], "".join(lines)
    return "".join(lines)


HELD = """if True:
    import ctypes, threading, time
    from manylabel.storage.stacks import show_stacks_on_signal
    show_stacks_on_signal(of_helpers=True)
    def in_another_thread():
        time.sleep(30)
    threading.Thread(target=in_another_thread, daemon=True).start()
    def in_a_library():
        print("ready", flush=True)
        for _ in range(2):  # The signal cuts one short.
            ctypes.LIBRARY(None).sleep(30)
    in_a_library()
"""
HOLDING, LETTING_GO = "PyDLL", "CDLL"  # the interpreter, while the library is at work


def test_the_stack_of_a_thread_in_a_library_that_holds_the_interpreter(started):
    process = started(HELD.replace("LIBRARY", HOLDING))
    time.sleep(0.05)  # it sleeps then, and no other thread comes to its turn
    process.send_signal(signal.SIGUSR2)
    assert "in in_a_library" in told(process, '  File "<string>", line 12')
    assert process.poll() is None, "it went on"


def test_the_stacks_of_all_threads_once_a_library_lets_the_interpreter_go(started):
    process = started(HELD.replace("LIBRARY", LETTING_GO))
    process.send_signal(signal.SIGUSR2)
    text = told(process, "stacks of process")
    assert text.count("in in_a_library") == 2, "at once, and among all"
    assert text.count("in in_another_thread") == 1
    assert process.poll() is None, "it went on"


AT_WORK = """if True:
    import sys, threading, time
    from pathlib import Path
    from manylabel.storage.stacks import show_stacks_on_signal
    def at_work():
        while True:
            sum(len(path.name) for path in Path("/proc/self").glob("*"))
    if MAIN_SHOWS:
        show_stacks_on_signal()
    else:
        thread = threading.Thread(target=show_stacks_on_signal)
        thread.start()
        thread.join()
    for _ in range(2):
        threading.Thread(target=at_work, daemon=True).start()
    print("ready", flush=True)
    while True:
        time.sleep(0.001)
"""


@pytest.mark.parametrize("main_shows", [True, False])
def test_a_process_at_work_is_not_ended(started, main_shows):
    """To follow the frames of threads that move was to crash, in one of twenty signals here."""
    process = started(AT_WORK.replace("MAIN_SHOWS", str(main_shows)))
    assert process.stderr is not None
    reading = threading.Thread(target=process.stderr.read)
    reading.start()
    for _ in range(200):
        process.send_signal(signal.SIGUSR2)
        time.sleep(0.002)
        assert process.poll() is None
    process.kill()
    reading.join()


CHILD = """if True:
    import sys, time
    from manylabel.storage.stacks import show_stacks_on_signal
    show_stacks_on_signal()
    def in_the_child():
        print("ready", flush=True)
        time.sleep(30)
    in_the_child()
"""
PARENT = f"""if True:
    import subprocess, sys, time
    from manylabel.storage.stacks import show_stacks_on_signal
    show_stacks_on_signal(of_helpers=True)
    with open("child.log", "w") as log:
        children = [
            subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, stderr=err)
            for err in (log, None)
        ]
    # None of them would live on: it ends them.
    ends = "import signal, sys, time; signal.signal(signal.SIGUSR2, sys.exit); time.sleep(30)"
    children += [
        subprocess.Popen([sys.executable, "-c", ends]),
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"]),
        subprocess.Popen(["sh", "-c", "trap 'exit 3' USR2; read line"], stdin=subprocess.PIPE),
    ]
    for child in children[:2]:
        child.stdout.readline()
    print("ready", flush=True)
    sys.stdin.readline()
    time.sleep(0.3)
    print([child.poll() for child in children], flush=True)
    for child in children:
        child.kill()
"""


def test_helpers_show_theirs_and_no_other_process_hears_of_it(started, tmp_path):
    process = started(PARENT, cwd=tmp_path, stdin=subprocess.PIPE)
    time.sleep(0.1)
    process.send_signal(signal.SIGUSR2)
    text = told(process, f"stacks of process {process.pid} above; those of its helpers follow\n")
    assert "in <module>" in text, "its own"
    text = told(process, "Stack")
    assert f": in {tmp_path / 'child.log'}\n" in text
    assert ": below\n" in text
    assert "in in_the_child" in process.stderr.readline()
    until(lambda: "in in_the_child" in (tmp_path / "child.log").read_text())
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "[None, None, None, None, None]\n"
    assert process.wait(DEADLINE) == 0, "it ends them all"


def test_a_process_that_is_forked_off_is_no_helper(started):
    """Its handlers would write to our pipe, and what it is told would come back for ever."""
    process = started(
        """if True:
        import os, signal, sys, time
        from manylabel.storage.stacks import show_stacks_on_signal
        show_stacks_on_signal(of_helpers=True)
        if (child := os.fork()) == 0:
            print("ready", flush=True)
            time.sleep(30)
        sys.stdin.readline()
        time.sleep(0.5)
        os.kill(child, signal.SIGUSR2)
        print(os.waitpid(child, 0)[1] == signal.SIGUSR2, flush=True)
    """,
        stdin=subprocess.PIPE,
    )
    process.send_signal(signal.SIGUSR2)
    assert told(process, "stacks of process").endswith(f"stacks of process {process.pid} above\n")
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "True\n", "to the child it means what it is to any"
    assert process.wait(DEADLINE) == 0
    assert "stacks of" not in process.stderr.read()


def test_nothing_ends_a_process_that_shows_them_anew(started):
    process = started("""if True:
        from manylabel.storage.stacks import show_stacks_on_signal
        show_stacks_on_signal()
        print("ready", flush=True)
        for _ in range(10):
            show_stacks_on_signal()
        print("done", flush=True)
    """)
    reading = threading.Thread(target=process.stderr.read)
    reading.start()
    while process.poll() is None:
        process.send_signal(signal.SIGUSR2)
        time.sleep(0.002)
    reading.join()
    assert process.stdout.read() == "done\n"


def test_it_does_not_stop_a_job_and_what_stops_one_does(started):
    process = started(
        """if True:
        import sys, threading
        from manylabel.storage.stacks import show_stacks_on_signal
        from manylabel.storage.stop_signals import on_stop_signal
        show_stacks_on_signal(of_helpers=True)
        stop = threading.Event()
        with on_stop_signal(stop.set):
            print("ready", flush=True)
            while not stop.wait(0.05):
                pass
            print("saving", flush=True)
            sys.stdin.readline()
            print("saved", flush=True)
    """,
        stdin=subprocess.PIPE,
    )
    for _ in range(2):
        process.send_signal(signal.SIGUSR2)
        told(process, "stacks of process")
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == "saving\n"
    process.send_signal(signal.SIGUSR2)
    told(process, "stacks of process")
    process.stdin.write("\n")  # Not earlier: its end would cut off what a slow thread tells.
    process.stdin.flush()
    assert process.stdout.readline() == "saved\n"
    assert process.wait(DEADLINE) == 0


def test_a_closed_standard_error_ends_nothing(started):
    process = started(
        HELD.replace("LIBRARY", LETTING_GO).replace("print(", "import os; os.close(2); print(")
    )
    process.send_signal(signal.SIGUSR2)
    time.sleep(0.1)
    assert process.poll() is None


def test_where_there_is_no_such_signal_nothing_is_done(monkeypatch):
    monkeypatch.delattr(signal, "SIGUSR2")
    stacks.show_stacks_on_signal(of_helpers=True)
    monkeypatch.delattr(stacks.faulthandler, "register")
    stacks.show_stacks_on_signal()


def test_this_process_is_no_helper_of_its_own():
    assert os.getpid() not in list(stacks.helpers())


def test_commands_show_theirs_and_what_is_imported_does_not():
    script = """if True:
        import faulthandler, os, signal
        from manylabel.pipeline import cli
        from manylabel.preprocessing.executors import worker
        assert not faulthandler.unregister(signal.SIGUSR2)
        cli.run = lambda arguments: os.kill(os.getpid(), signal.SIGUSR2) or 0
        cli.main()
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "in main" in done.stderr
