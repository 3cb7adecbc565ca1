"""A Ray cluster: joined, or started on this machine."""

import ctypes
import errno
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray import _raylet
from ray._private import ray_constants, worker
from ray.job_config import JobConfig

from manylabel.cluster.errors import BusyMachineError, ClusterError, UnreachableClusterError
from manylabel.cluster.leaving import abandoned, within
from manylabel.cluster.open_files import check_open_files
from manylabel.cluster.ray_files import LONGEST_FOLDER, folder_of, private_ray_files
from manylabel.cluster.reachable import check_reachable, own_cluster
from manylabel.cluster.shared_memory import check_room, full_here, tell_if_store_is_on_disk
from manylabel.cluster.slow_start import time_to_start
from manylabel.storage.full_disks import remedy
from manylabel.storage.own_process import python_path
from manylabel.storage.stop_signals import STOP_SIGNALS

_SECONDS_TO_LEAVE = 20.0  # it takes one or two


@contextmanager
def ray_cluster(
    address: str | None,
    cpus: int,
    object_store_bytes: int,
    system_config: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Joins the cluster at `address`, or starts one on this machine for as long as it is needed.

    A process that has called ray.init already stays in the cluster it is in. Without an address, a
    job of a Ray cluster joins that one.

    Args:
        cpus: what one that is started offers, however many the machine has; it counts tasks,
            binds nothing. object_store_bytes: what that one's object store holds.
        system_config: settings of Ray's own for one that is started, beside ours.

    Raises:
        ClusterError: the cluster cannot be reached, or started; UnreachableClusterError if the
            cluster that this process is a job of does not answer, or one that it left hangs;
            BusyMachineError if this machine is too busy to start one.
    """
    if abandoned.is_set():  # Ray still calls itself initialized, with what hangs
        raise UnreachableClusterError(
            "the Ray cluster that this process was in hangs, and is not left yet; try again later, "
            "or in a new process"
        )
    address = address or own_cluster()
    with ExitStack() as stack:
        if not ray.is_initialized():
            stack.enter_context(_nothing_left())
            stack.enter_context(_quiet())
            if address is None:
                started = _started_here(cpus, object_store_bytes, system_config or {})
                stack.enter_context(started)
            else:
                check_reachable(address)
                stack.callback(_leave)
                _init(address, address=address)
        yield


@contextmanager
def _started_here(
    cpus: int, object_store_bytes: int, system_config: Mapping[str, Any]
) -> Iterator[None]:
    check_open_files(cpus)
    tell_if_store_is_on_disk(object_store_bytes)
    with private_ray_files() as files, ExitStack() as stack:
        check_room(folder_of(files), object_store_bytes)
        # Also of what is half started, when a signal's handler raises.
        stack.callback(_leave)
        with (
            _ray_constants_set(
                # Listen on the loopback interface alone. Ray does so on macOS and Windows, where it
                # supports no clusters of several machines. `_node_ip_address` cannot do it.
                ENABLE_RAY_CLUSTER=False,
                # Under `uv run`, workers would be started by uv, in copies of the current folder.
                RAY_ENABLE_UV_RUN_RUNTIME_ENV=False,
            ),
            _our_code_found(),
            _deaf_to_the_job_s_signals(),
            time_to_start(),
        ):
            _init(
                None,
                address="local",  # not the one of RAY_ADDRESS, or of an earlier `ray start`
                num_cpus=cpus,
                object_store_memory=object_store_bytes,
                include_dashboard=False,
                # Ray's own is 15: beside any other busy process, the job would nearly stand still.
                _skip_env_hook=True,  # RAY_RUNTIME_ENV_HOOK is for a platform's clusters
                _system_config={"worker_niceness": 0, **system_config},
                **files,
            )
        yield


def _leave() -> None:
    """Ends what was started here. Of a head that hangs, without its help."""
    try:
        within(_SECONDS_TO_LEAVE, ray.shutdown)
    finally:
        node = worker._global_node
        if abandoned.is_set() and node is not None:
            node.kill_all_processes(check_alive=False)  # none, where the cluster was joined


def _init(where: str | None, **options: Any) -> None:
    job_config = _InstalledCode()
    with _stop_signals_kept(starts_here=where is None):
        try:
            ray.init(
                **options,
                job_config=job_config,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # what Ray raises when a busy machine is slow to start it
            full = full_here() if where is None else ""
            raise _kind(where, error, full)(_cannot_join(where, error, full)) from error


def ray_logs() -> Path | None:
    """Where Ray keeps what its processes print on this machine; None outside of a cluster."""
    node = worker._global_node
    return None if node is None else Path(node.get_logs_dir_path())


@contextmanager
def _stop_signals_kept(*, starts_here: bool) -> Iterator[None]:
    """Handles SIGTERM as before the block, and the other signals to stop, unless one comes twice,
    when that is over.

    Ray sets a handler of SIGTERM of its own, which ends the process without a word, or with a
    backtrace. And a cluster that is left half started crashes the interpreter at its end, now and
    then; it takes seconds to start, while joining a cluster that is not there takes minutes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    ours: dict[int, Callable[[int, FrameType | None], Any]] = {}
    for number in STOP_SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler):
            ours[number] = handler
    _have_ray_s_handlers_set()
    told: list[int] = []

    def keep(number: int, frame: FrameType | None) -> None:
        told.append(number)
        signal.signal(number, ours[number])

    if starts_here:
        for kept in ours.keys() - {signal.SIGTERM}:
            signal.signal(kept, keep)
    try:
        yield
    except SystemExit:  # raised by Ray's handler
        told.append(signal.SIGTERM)
        if signal.SIGTERM not in ours:
            raise
    finally:
        for kept, handler in ours.items():
            signal.signal(kept, handler)
    for kept in told:
        ours[kept](kept, None)


def _have_ray_s_handlers_set() -> None:
    """Has Ray's core (2.60) set its handlers of failures now, and takes SIGTERM back.

    It sets them once, else somewhere within ray.init; from there on that of SIGTERM printed a
    backtrace before ours was called. To block the signal would not do: not in threads that are
    there before, and processes that Ray starts would not hear that they are to end.
    """
    handler = signal.getsignal(signal.SIGTERM)
    core = ctypes.CDLL(_raylet.__file__)
    set_handlers = getattr(core, "_ZN3ray6RayLog27InstallFailureSignalHandlerEPKcb", None)
    if set_handlers is not None and handler is not None:  # else it is not Python's
        set_handlers(None, ctypes.c_bool(True))  # call those of before as well, as Ray has it
        signal.signal(signal.SIGTERM, handler)


class _InstalledCode(JobConfig):
    """Workers import what is installed on their node, and what PYTHONPATH there adds.

    Ray would put the driver's current folder and the folder of its script before both, so that a
    user's `trainer.py` or `random.py` would be executed; except where the job has a working
    directory of its own, which Ray asks for by this method.
    """

    def _runtime_env_has_working_dir(self) -> bool:
        return True


@contextmanager
def _ray_constants_set(**values: Any) -> Iterator[None]:
    before = {name: getattr(ray_constants, name) for name in values}
    vars(ray_constants).update(values)
    try:
        yield
    finally:
        vars(ray_constants).update(before)


@contextmanager
def _deaf_to_the_job_s_signals() -> Iterator[None]:
    """Processes that are started meanwhile outlive a signal to the whole job, and are there for
    what is still to be saved. (Ray itself sees to SIGINT. What comes meanwhile comes at the end.)
    Those of ours that show their stacks on SIGUSR2 let it through.
    """
    deaf_to = {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, deaf_to)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _our_code_found() -> Iterator[None]:
    """For processes that are started meanwhile and that import us."""
    before = os.environ.get("PYTHONPATH")
    os.environ.update(python_path(os.environ))
    try:
        yield
    finally:
        _set_variable("PYTHONPATH", before)


@contextmanager
def _nothing_left() -> Iterator[None]:
    """After the block, what Ray sets in this process is as before: its variables, which would hold
    for a cluster that the caller joins later, what breakpoint() does, and the handler of SIGTERM.
    """
    before = dict(os.environ)
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        for name in before.keys() | os.environ.keys():
            if name.startswith("RAY_") or name == "PYTHONBREAKPOINT":
                _set_variable(name, before.get(name))
        if is_main and handler is not None:  # else it is not Python's
            signal.signal(signal.SIGTERM, handler)


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what Ray prints about each lost worker off standard output; who uses the cluster says
    what became of the work. `log_to_driver` is about what workers print."""
    before = worker._worker_logs_enabled
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before


def _kind(address: str | None, error: Exception, full: str) -> type[ClusterError]:
    if own_cluster() is not None:
        return UnreachableClusterError  # it answered just now
    is_busy = address is None and "timed out" in str(error) and not full
    return BusyMachineError if is_busy else ClusterError


def _cannot_join(address: str | None, error: Exception, full: str) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if address is None:
        if full:
            advice = f"; {full}; {remedy(errno.ENOSPC)}, or set TMPDIR to another place"
        elif "timed out" in reason:
            advice = "; run again when the machine is less busy"
        elif "AF_UNIX" in reason:
            advice = f"; set RAY_TMPDIR to a shorter path, of at most {LONGEST_FOLDER} bytes"
        else:
            advice = ""
        return f"Ray could not be started on this machine: {reason}{advice}"
    advice = (
        "set RAY_AUTH_MODE=token and the cluster's RAY_AUTH_TOKEN on this machine"
        if "token" in str(error).lower()
        else "check the address (host:6379, or `auto` on a node of the cluster)"
    )
    return f"the Ray cluster at {address} could not be joined: {reason}; {advice}"
