"""Worker processes: real ones, which fail, end, and are killed.

What they do is code for `eval`, since a process that is started cannot import this module.
"""

import importlib
import itertools
import os
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from manylabel.preprocessing import executors
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors import Lost
from manylabel.preprocessing.executors.processes import _AHEAD, Processes
from manylabel.storage.stop_signals import STOP_SIGNALS
from tests.preprocessing.executors import contract

pytestmark = pytest.mark.slow

PROCESSES = 2
PROCESS = "__import__('os').getpid()"
KILLS_ITSELF = "__import__('os').kill(__import__('os').getpid(), 9)"
LOST = Lost("its process ended three times, the last time by signal 9 (SIGKILL)")


def slow(seconds, result=PROCESS):
    return f"(__import__('time').sleep({seconds}), {result})[1]"


def children():
    """Ids of the processes that this one started and did not bury."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(child) for file in tasks for child in file.read_text().split()}


def runs(process):
    """Whether it is there, and more than an entry that waits for its parent."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def executor():
    """One of which nothing is left."""
    before = children()
    with closing(Processes(PROCESSES)) as executor:
        yield executor
    assert children() == before


def test_it_keeps_the_promises_of_an_executor(executor):
    contract.gives_results_in_order(executor)
    contract.reads_ahead(executor, at_most=_AHEAD * PROCESSES * 10)
    raised = contract.raises_at_its_turn(executor)
    assert "in attempt" in raised.__notes__[0], "where it was raised"


def test_processes_come_with_the_work_and_stay_for_the_next(executor):
    before = children()
    (first,) = executor.map(eval, [PROCESS], 1)
    assert children() - before == {first}
    both: set[int] = set()
    while len(both) < PROCESSES:  # a busy machine takes its time to start the second
        both = set(executor.map(eval, [slow(0.1)] * 20, 1))
    assert len(both) == PROCESSES
    assert first in both
    assert children() - before == both


def test_a_slow_item_does_not_make_results_pile_up(executor):
    read = itertools.count()
    results = executor.map(eval, (slow(0.5, 7) if not item else "7" for item in read), 1)
    assert next(results) == 7
    assert next(read) <= 1 + _AHEAD * PROCESSES
    results.close()


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        # Made again from its text alone, it would want more arguments.
        ("__import__('json').loads('{')", ValueError, "Expecting property name"),
        ("bytes([255]).decode()", UnicodeDecodeError, "invalid start byte"),
        (
            "(_ for _ in ()).throw(type('Odd', (Exception,), {})('of our own'))",
            PreprocessingError,
            "Odd: of our own",
        ),
        ("lambda: 0", Exception, "pickle.*lambda"),
    ],
)
def test_what_cannot_travel_is_told(executor, code, kind, text):
    with pytest.raises(kind, match=text):
        list(executor.map(eval, [code], 1))


def test_a_function_that_workers_cannot_import_is_an_error(executor, tmp_path, monkeypatch):
    (tmp_path / "only_in_the_parent.py").write_text("def double(item):\n    return 2 * item\n")
    monkeypatch.syspath_prepend(tmp_path)
    only_in_the_parent = importlib.import_module("only_in_the_parent")
    list(executor.map(eval, [slow(0.1)] * 10, 1))  # both are there
    with pytest.raises(ModuleNotFoundError, match="only_in_the_parent"):
        list(
            executor.map(
                only_in_the_parent.double, [f"open({str(tmp_path / 'made')!r}, 'w')"] * 10, 1
            )
        )
    time.sleep(0.1)
    assert not (tmp_path / "made").exists(), "these were not for the function before"
    assert list(executor.map(str, [1, 2], 1)) == ["1", "2"], "the other's error is no longer told"


def test_large_items_and_results_pass_each_other(executor):
    """Each is many times what a socket holds, so a side that does not listen while it speaks
    would stop both."""
    items = [bytes([number]) * 3_000_000 for number in range(12)]
    assert list(executor.map(bytes, items, 2)) == items


@pytest.mark.parametrize("batch", [1, 100])
def test_an_item_that_kills_its_process_is_lost_and_no_other(executor, batch):
    items = [f"'{number}'" for number in range(30)]
    items[0] = items[7] = items[29] = KILLS_ITSELF
    expected = [LOST if item is KILLS_ITSELF else item.strip("'") for item in items]
    assert list(executor.map(eval, items, batch)) == expected


def test_an_item_may_end_its_process_twice(executor, tmp_path):
    items = []
    for number in range(2):
        tries = f"__import__('pathlib').Path({str(tmp_path / str(number))!r}).open('a+')"
        dies = f"(f := {tries}, f.write('x'), f.flush(), f.seek(0), len(f.read()))[4] < 3"
        items.append(f"{KILLS_ITSELF} if {dies} else {number}")
    assert list(executor.map(eval, items, 2)) == [0, 1]


def test_losses_in_a_row_end_the_map(executor, monkeypatch):
    monkeypatch.setattr(executors.executor, "_HOPELESS", 2)
    with pytest.raises(PreprocessingError, match=r"2 items in a row .* signal 9 \(SIGKILL\); if"):
        list(executor.map(eval, [KILLS_ITSELF] * 4, 1))


def test_how_the_process_ended_is_told(executor):
    (lost,) = executor.map(os._exit, [3], 1)
    assert lost == Lost("its process ended three times, the last time with exit code 3")
    (lost,) = executor.map(sys.exit, ["no exception, an end"], 1)
    assert lost == Lost("its process ended three times, the last time with exit code 1")


JEALOUS = """
import os, time
from pathlib import Path

def work(name):
    here = Path(__file__).parent
    if name == "other":
        busy = here / f"{os.getpid()}.busy"
        busy.touch()
        time.sleep(0.8)
        busy.unlink()
        return name
    with (here / "tries").open("a") as tries:
        tries.write("x")
    for _ in range(500 if (here / "tries").stat().st_size < 3 else 20):
        if any(here.glob("*.busy")):
            os.kill(os.getpid(), 9)
        time.sleep(0.01)
    return name
"""


def test_an_item_is_tried_a_last_time_beside_no_other(executor, tmp_path, monkeypatch):
    """As one whose process the kernel ended because another took the memory."""
    (tmp_path / "jealous.py").write_text(JEALOUS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    items = ["victim", *["other"] * 7]
    results = executor.map(importlib.import_module("jealous").work, items, 1)
    assert next(results) == "victim"
    results.close()
    assert (tmp_path / "tries").read_text() == "xxx"


@pytest.mark.parametrize("moment", [1, 20])
def test_a_killed_worker_is_replaced(executor, moment):
    items = [slow(0.01, number) for number in range(40)]
    results = executor.map(eval, items, 4)
    fetched = [next(results) for _ in range(moment)]
    for worker in children():
        os.kill(worker, signal.SIGKILL)
    assert fetched + list(results) == list(range(40))


@pytest.fixture
def strike():
    """strike(number, *ordinals): a signal to those processes that come, counted from now, as
    soon as they are there; the list of those that came."""
    over = threading.Event()
    threads = []

    def strike(number, *ordinals):
        before = children()
        came: list[int] = []

        def watch():
            while not over.wait(0.001):
                for process in children().difference(before, came):
                    came.append(process)
                    if len(came) - 1 in ordinals:
                        os.kill(process, number)

        threads.append(threading.Thread(target=watch))
        threads[-1].start()
        return came

    yield strike
    over.set()
    for thread in threads:
        thread.join()


def test_workers_killed_as_they_start_are_replaced(strike):
    """Two of three in a row, twice: three would be an error."""
    with closing(Processes(1)) as executor:
        strike(signal.SIGKILL, 0, 1, 3, 4)
        assert list(executor.map(eval, [KILLS_ITSELF, "7"], 1)) == [LOST, 7]


def test_workers_interrupted_as_they_start_take_no_notice(executor, strike, capfd):
    came = strike(signal.SIGINT, 0, 1)
    assert set(executor.map(eval, [slow(0.1)] * 10, 1)) == {*came}
    assert len(came) == PROCESSES
    assert capfd.readouterr() == ("", "")


def test_workers_killed_between_maps_are_replaced():
    before = children()
    with closing(Processes(3)) as executor:
        idle = set(executor.map(eval, [slow(0.1)] * 20, 1))
        assert len(idle) == 3
        for worker in idle:
            os.kill(worker, signal.SIGKILL)
        assert list(executor.map(str, range(20), 2)) == [str(item) for item in range(20)]
    assert children() == before


def test_a_worker_that_is_killed_in_the_middle_of_an_answer(executor):
    """Larger than the socket holds: the rest of it never comes."""
    results = executor.map(bytes, [0, *[50_000_000] * 3], 4)
    assert next(results) == b""
    time.sleep(0.3)
    for worker in children():
        os.kill(worker, signal.SIGKILL)
    assert [len(result) for result in results] == [50_000_000] * 3


def test_closing_a_map_ends_what_is_under_way_at_once(executor):
    results = executor.map(eval, [PROCESS, *[slow(60)] * 9], 1)
    at_work = next(results)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 5
    assert not runs(at_work)
    assert list(executor.map(str, [1, 2], 1)) == ["1", "2"]


def test_one_map_at_a_time(executor):
    results = executor.map(str, itertools.count(), 1)
    next(results)
    with pytest.raises(RuntimeError, match="end of one map before the next"):
        next(executor.map(str, [1], 1))
    results.close()
    assert next(executor.map(str, [1], 1)) == "1"


def test_closing_from_another_thread_ends_a_map(executor):
    """As when Ctrl-C meets the main thread, and the map is in one of Beam's."""
    before = children()
    failures = []

    def work():
        try:
            list(executor.map(eval, [slow(60)] * 4, 1))
        except PreprocessingError as error:
            failures.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    while len(children() - before) < PROCESSES:
        time.sleep(0.01)
    executor.close()
    thread.join(5)
    assert failures == ["the worker processes were told to end"]
    assert children() == before
    with pytest.raises(PreprocessingError, match="told to end"):
        next(executor.map(str, [1], 1))


def test_a_map_that_nobody_ends_is_over_when_its_executor_is_closed():
    before = children()
    with closing(Processes(PROCESSES)) as executor:
        results = executor.map(eval, itertools.repeat(slow(0.01)), 1)
        next(results)
    assert children() == before
    with pytest.raises(PreprocessingError, match="told to end"):
        list(results)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("#!/bin/sh\necho >> $0.starts\nexit 7\n", "end with exit code 7 before they can work"),
        ("#!/bin/sh\nkill -9 $$\n", r"end by signal 9 \(SIGKILL\) before they can work"),
        ("", "no worker process can be started: .*; lower preprocessing.runner.processes"),
    ],
)
def test_workers_that_cannot_start_are_an_error(executor, program, message, tmp_path, monkeypatch):
    python = tmp_path / "python"
    if program:
        python.write_text(program)
        python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(PreprocessingError, match=message):
        list(executor.map(str, range(10), 1))
    if "starts" in program:
        assert len((tmp_path / "python.starts").read_text()) <= PROCESSES, "it would end so again"


def test_a_worker_has_one_thread_each_and_the_users_environment(executor, monkeypatch):
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    monkeypatch.setenv("OF_THE_USER", "kept")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OF_THE_USER"]
    assert list(executor.map(os.getenv, names, 3)) == ["1", "3", "kept"]
    assert list(executor.map(eval, ["__import__('pyarrow').cpu_count()"], 1)) == [1]


def test_a_worker_imports_nothing_that_is_slow(executor):
    (modules,) = executor.map(eval, ["{*__import__('sys').modules}"], 1)
    heavy = {"apache_beam", "tensorflow", "ray", "numpy", "pyarrow", "numba"}
    assert not heavy & modules


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_workers_leave_it_to_their_parent_to_stop(executor, number):
    """Terminals and batch schedulers tell every process of a job."""
    process = next(executor.map(eval, [PROCESS], 1))
    os.kill(process, number)
    tells_itself = f"__import__('os').kill({PROCESS}, {number:d})"
    assert list(executor.map(eval, [tells_itself, PROCESS], 1)) == [None, process]


def test_a_worker_shows_its_stacks_when_it_is_asked():
    module = "__import__('signal')"
    registered = f"__import__('faulthandler').unregister({module}.SIGUSR2)"
    let_through = f"{module}.SIGUSR2 not in {module}.pthread_sigmask({module}.SIG_BLOCK, [])"
    with closing(Processes(1)) as executor:
        assert list(executor.map(eval, [registered, let_through], 1)) == [True, True]
