"""Runs Beam pipelines on this machine: in this process, or in several that Beam starts."""

import logging
import shlex
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from manylabel.preprocessing.errors import PreprocessingError

# At import, Beam warns about cloud clients that are not installed. They are not used here; errors
# still come through, then and later. Modules of this package import `beam` from here, so that
# whichever comes first is as quiet.
_disabled = logging.root.manager.disable
logging.disable(logging.WARNING)
import apache_beam as beam  # noqa: E402
from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402
from apache_beam.portability.api import beam_fn_api_pb2  # noqa: E402
from apache_beam.runners.portability import local_job_service  # noqa: E402
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers  # noqa: E402
from apache_beam.runners.worker import data_plane  # noqa: E402
from apache_beam.transforms.environments import SubprocessSDKEnvironment  # noqa: E402

logging.disable(_disabled)
logging.getLogger("apache_beam").setLevel(logging.ERROR)
# Their errors are tracebacks of lost connections; that a worker ended, run_pipeline says in a line.
for _module in (data_plane, worker_handlers):
    logging.getLogger(_module.__name__).setLevel(logging.CRITICAL)


def run_pipeline(build: Callable[[beam.Pipeline], object], processes: int) -> None:
    """Builds a pipeline and runs it to its end.

    The runner is named, because Beam's "DirectRunner" first tries to start another one, Prism,
    which it downloads.

    Args:
        build: Adds the transforms.
        processes: 1 for this process; more are started by Beam and take about 8 seconds to come.

    Raises:
        PreprocessingError: storage failed, or a worker process did; Beam does not try again here.
    """
    environment = None
    if processes > 1:
        command = f"exec {shlex.quote(sys.executable)} -P -m manylabel.preprocessing.beam_worker"
        environment = SubprocessSDKEnvironment.from_command_string(command)
    runner = FnApiRunner(default_environment=environment)
    options = PipelineOptions([f"--direct_num_workers={processes}"])
    try:
        with beam.Pipeline(runner=runner, options=options) as pipeline:
            build(pipeline)
    except (OSError, RuntimeError) as error:
        # What a worker process raised comes as a RuntimeError with the traceback as its text.
        reason = str(error).strip().splitlines()[-1]
        raise PreprocessingError(
            f"the job failed: {reason}; mend the cause and run again, finished shards are kept"
        ) from error


# What follows replaces names of Beam that are not public, so setup.cfg bounds Beam's version.
#
# Beam 2.77 waits for ever for a worker process that was killed, and for one that had not connected
# when the job failed. These mend both.


def _start_watched(handler: worker_handlers.SubprocessSdkWorkerHandler) -> None:
    """Starts a worker process, and answers for it once it has ended."""
    worker = local_job_service.SubprocessSdkWorker(
        handler._worker_command_line,
        handler.control_address,
        handler.provision_info,
        handler.worker_id,
    )

    def run() -> None:
        reason = "a worker process ended early"
        try:
            worker.run()
        except RuntimeError as error:  # Its exit code was not 0.
            reason = f"{reason}, perhaps for want of memory ({error})"
        _mark_as_ended(handler.control_conn, reason)

    handler.worker_thread = threading.Thread(name="run_worker", target=run)
    handler.worker_thread.start()


def _mark_as_ended(connection: worker_handlers.ControlConnection, reason: str) -> None:
    """Fails all requests to a worker, those that wait and those to come."""
    connection.end_reason = reason
    for future in list(connection._futures_by_id.values()):
        _fail(future, reason)


def _push_also_to_ended(
    connection: worker_handlers.ControlConnection, request: object
) -> worker_handlers.ControlFuture | None:
    future = _push(connection, request)
    # Looked up after the request was listed: whichever comes first, it or the worker's end, the
    # request is answered.
    if future is not None and connection.end_reason is not None:
        _fail(future, connection.end_reason)
    return future


def _fail(future: worker_handlers.ControlFuture, reason: str) -> None:
    """As if the worker had answered so. Beam ignores an aborted future while it waits for data."""
    response = beam_fn_api_pb2.InstructionResponse(
        instruction_id=future.instruction_id, error=reason
    )
    future.set(response)


def _close_also_unconnected(connection: worker_handlers.ControlConnection) -> None:
    """Tells a worker to end, also one that has not connected yet and will ask for work later."""
    connection.push(worker_handlers.BeamFnControlServicer._DONE_MARKER)
    _close(connection)


def _ending_quietly(read: Callable[..., None]) -> Callable[..., None]:
    """For the threads that read from a worker: its end is what `_start_watched` reports."""

    def read_to_end(*arguments: object) -> None:
        with suppress(worker_handlers.grpc.RpcError):
            read(*arguments)

    return read_to_end


# With worker processes, Beam listens at six ports on every interface of the machine, and unpickles,
# that is executes, whatever anyone sends there. What follows leaves the loopback interface.


_grpc = worker_handlers.grpc


def _server_on_loopback(*arguments: Any, **options: Any) -> Any:
    """As grpc.server, for servers that want to listen at any address."""
    server = _grpc.server(*arguments, **options)
    listen = server.add_insecure_port
    # By name, because clients are told "localhost": where that is both 127.0.0.1 and ::1, no one
    # else may listen at the one that is left.
    server.add_insecure_port = lambda address: listen(address.replace("[::]", "localhost"))
    return server


_loopback_grpc = SimpleNamespace(**{**vars(_grpc), "server": _server_on_loopback})
worker_handlers.grpc = _loopback_grpc
local_job_service.grpc = _loopback_grpc

_push = worker_handlers.ControlConnection.push
_close = worker_handlers.ControlConnection.close
worker_handlers.ControlConnection.end_reason = None
worker_handlers.ControlConnection._read = _ending_quietly(worker_handlers.ControlConnection._read)
data_plane._GrpcDataChannel._read_inputs = _ending_quietly(data_plane._GrpcDataChannel._read_inputs)
worker_handlers.ControlConnection.push = _push_also_to_ended
worker_handlers.ControlConnection.close = _close_also_unconnected
worker_handlers.SubprocessSdkWorkerHandler.start_worker = _start_watched
