"""Signals and trouble while Ray starts; Ray itself is not started here."""

import os
import resource
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import ray
from ray._private import ray_constants, services

from manylabel.cluster import leaving, shared_memory
from manylabel.cluster import ray_cluster as cluster
from manylabel.cluster.errors import BusyMachineError, ClusterError, UnreachableClusterError
from manylabel.cluster.ray_cluster import ray_cluster


class Told(Exception):
    """What a job's own handler of a signal raises."""


@pytest.fixture(autouse=True)
def interrupted_by_sigint():
    """As in a terminal; where tests run in the background, SIGINT may be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def number(request):
    """A signal whose handler raises Told."""

    def on_signal(number, frame):
        raise Told

    before = signal.signal(request.param, on_signal)
    yield request.param
    signal.signal(request.param, before)


def start(address=None):
    with ray_cluster(address, cpus=1, object_store_bytes=1):
        pass


@pytest.fixture
def seen():
    """What happened, in order."""
    return []


@pytest.fixture
def starting(monkeypatch, seen):
    """starting(*steps): Ray sets its handler of SIGTERM when it starts; then these steps follow."""

    def replace(*steps):
        def init(**options):
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
            for step in steps:
                step()
            seen.append("started")

        monkeypatch.setattr(ray, "init", init)
        monkeypatch.setattr(cluster, "check_reachable", lambda address: None)
        monkeypatch.setattr(ray, "shutdown", lambda: seen.append("shut down"))

    return replace


def kill_with(number):
    return lambda: os.kill(os.getpid(), number)


def test_what_signals_mean_is_the_job_s_to_say(number, starting):
    starting()
    handler = signal.getsignal(number)
    start()
    assert signal.getsignal(number) is handler


def test_a_signal_is_handled_and_nothing_is_left_half_started(number, starting, seen):
    starting(kill_with(number))
    with pytest.raises(Told):
        start()
    # SIGTERM is Ray's to handle meanwhile, and it does not wait.
    assert seen == (["shut down"] if number == signal.SIGTERM else ["started", "shut down"])


def test_what_is_started_does_not_hear_what_the_whole_job_is_told(starting, seen):
    """Its processes inherit what is blocked; they are needed for what is still to be saved."""
    starting(lambda: seen.append(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    start()
    assert {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2} <= seen[0]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_sigterm_is_handled_without_a_backtrace_by_ray_s_core():
    """In a process of its own: what the core sets stays."""
    script = """if True:
        import ctypes, os, signal, sys
        import ray
        from manylabel.cluster import ray_cluster as cluster
        def init(**options):
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
            core = ctypes.CDLL(ray._raylet.__file__)
            core._ZN3ray6RayLog27InstallFailureSignalHandlerEPKcb(None, ctypes.c_bool(True))
            os.kill(os.getpid(), signal.SIGTERM)
        ray.init = init
        cluster.check_reachable = lambda address: None
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("stopped"))
        with cluster.ray_cluster("nowhere:6379", cpus=1, object_store_bytes=1):
            pass
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("stopped\n", 1)


def test_joining_waits_for_nobody(starting, seen):
    """Ray looks for minutes for a cluster that is not there."""
    starting(kill_with(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        start("nowhere:6379")
    assert seen == ["shut down"]


def test_who_asks_twice_does_not_want_to_wait(starting, seen):
    starting(kill_with(signal.SIGINT), kill_with(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        start()
    assert seen == ["shut down"]


def test_a_cluster_that_cannot_be_joined_is_told_in_a_line(starting, seen):
    def fail():
        raise RuntimeError("timed out\nand a long story")

    starting(fail)
    with pytest.raises(ClusterError, match="nowhere:6379 could not be joined: timed out; check"):
        start("nowhere:6379")
    assert seen == ["shut down"]


def test_a_machine_that_is_too_busy_may_not_be_for_long(starting, monkeypatch):
    def fail():
        raise RuntimeError("its head timed out")

    starting(fail)
    with pytest.raises(BusyMachineError, match="timed out; run again when the machine is less bu"):
        start()
    monkeypatch.setattr(cluster, "full_here", lambda: "/dev/shm is full")
    with pytest.raises(ClusterError, match="timed out; /dev/shm is full; make room") as caught:
        start()
    assert not isinstance(caught.value, BusyMachineError)


def test_ray_gets_more_time_than_it_gives_itself(starting, seen):
    before = services.get_node
    starting(lambda: seen.append(services.get_node is before))
    start()
    assert seen == [False, "started", "shut down"]


def test_a_machine_with_too_few_file_handles_or_little_shared_memory(starting, monkeypatch, caplog):
    starting()
    monkeypatch.setattr(shared_memory, "_PLACE", "/proc")  # which has no byte free
    start()
    assert "/proc has 0 MiB free" in caplog.text
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 64))
    with pytest.raises(ClusterError, match="hard limit of 64"):
        start()


def test_hooks_of_the_shell_change_nothing_here(starting, seen, monkeypatch):
    def init(_skip_env_hook, **options):
        seen.append((_skip_env_hook, ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV))

    starting()
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV", True)
    start()
    assert seen == [(True, False), "shut down"]
    assert ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV


def test_a_folder_whose_path_is_too_long_for_sockets_is_told_in_a_line(starting):
    def fail():
        raise OSError(
            "validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes"
        )

    starting(fail)
    with pytest.raises(ClusterError, match="; set RAY_TMPDIR to a shorter path, of at most 39 byt"):
        start()


def test_a_head_that_hangs_does_not_keep_who_leaves_it(starting, seen, monkeypatch):
    starting()
    over = threading.Event()
    monkeypatch.setattr(ray, "shutdown", over.wait)
    monkeypatch.setattr(cluster, "_SECONDS_TO_LEAVE", 0.01)
    node = SimpleNamespace(kill_all_processes=lambda check_alive: seen.append("killed"))
    monkeypatch.setattr(cluster.worker, "_global_node", node)
    start()
    assert seen == ["started", "killed"]
    assert leaving.abandoned.is_set()
    with pytest.raises(UnreachableClusterError, match="hangs, and is not left yet; try again"):
        start()
    over.set()
    leaving.abandoned.clear()
