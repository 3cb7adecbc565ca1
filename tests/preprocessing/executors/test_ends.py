"""How worker processes end with the script that uses them, however that one ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BEGIN = """
import signal, sys
from contextlib import closing
from manylabel.preprocessing.executors.processes import Processes

print("once")
with closing(Processes(2)) as executor:
    code = "(__import__('time').sleep(0.2), __import__('os').getpid())[1]"
    print(*{*executor.map(eval, [code] * 6, 1)}, flush=True)
"""
FOR_LONG = "[range(10**9)] * 2"  # a quarter of a minute, and `sum` holds the interpreter
# So that whatever is left open, or ends in an exception that nobody catches, is printed.
COMMAND = [sys.executable, "-P", "-X", "dev"]


@pytest.fixture
def start(hostile_folder):
    """start(script): a process of it, where a module of each name of Python's lies about."""
    started = []

    def start(script):
        process = subprocess.Popen(
            [*COMMAND, "-c", script],
            cwd=hostile_folder,
            process_group=0,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # As in a terminal; where tests run in the background, SIGINT may be ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "once\n"
        return process, [int(worker) for worker in process.stdout.readline().split()]

    yield start
    for process in started:
        process.kill()
        process.communicate()
    assert not (hostile_folder / "executed.txt").exists()


def await_end(processes):
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{process}").exists() for process in processes):
        assert time.monotonic() < deadline, processes
        time.sleep(0.05)


@pytest.mark.parametrize("way", ["file", "-c", "stdin"])
def test_a_script_is_run_once_also_without_a_main_guard(way, tmp_path):
    script = BEGIN + "    print(*executor.map(str, range(5), 2))\n"
    script += "    print(*executor.map(eval, [\"__import__('sys').stdin.read()\"], 2))\n"
    (tmp_path / "script.py").write_text(script)
    arguments = {"file": [str(tmp_path / "script.py")], "-c": ["-c", script], "stdin": ["-"]}
    done = subprocess.run(
        [*COMMAND, *arguments[way]], input=script, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    first, workers, results, read = done.stdout.splitlines()
    assert (first, results) == ("once", "0 1 2 3 4")
    assert read == "", "what is said to the script is not for them"
    assert len(workers.split()) == 2
    await_end(workers.split())


def test_workers_end_with_a_job_that_is_killed_whatever_they_do(start):
    job, workers = start(BEGIN + f"    [*executor.map(sum, {FOR_LONG}, 1)]\n")
    assert len(workers) == 2
    time.sleep(0.5)  # they are at it
    job.kill()
    await_end(workers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_ends_all(start, number):
    """As Ctrl-C in a terminal does, and schedulers that know every process of a job."""
    script = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\ntry:\n"
    script += BEGIN.replace("\n", "\n    ")
    script += f"    [*executor.map(sum, {FOR_LONG}, 1)]\nexcept KeyboardInterrupt:\n    sys.exit(3)"
    job, workers = start(script)
    time.sleep(0.5)
    os.killpg(job.pid, number)
    printed, errors = job.communicate(timeout=5)
    assert (job.returncode, printed, errors) == (3, "", "")
    await_end(workers)


def test_an_exception_of_the_script_is_all_that_is_said(start):
    at_work = BEGIN + f"    for _ in executor.map(sum, [[0], *{FOR_LONG}], 1):\n        1 / 0\n"
    job, workers = start(at_work)
    _, errors = job.communicate(timeout=5)
    line = at_work.count("\n")
    assert errors == (
        f'Traceback (most recent call last):\n  File "<string>", line {line}, in <module>\n'
        "ZeroDivisionError: division by zero\n"
    )
    await_end(workers)
