"""The dashboard's process: a socket, the server on it, and its end by a signal to stop."""

import errno
import signal
import socket
from types import FrameType

import pyarrow as pa
import uvicorn
from starlette.types import ASGIApp

from manylabel.deploy.errors import DeploymentError
from manylabel.storage.stop_signals import STOP_SIGNALS

_BACKLOG = 128
_GRACE = 2
"""Seconds that answers under way have when the server is told to stop."""
_OPEN_CONNECTIONS = 200
"""More than a page of thumbnails opens for a handful of people; then others get 503."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises:
        DeploymentError: the port is in use or not allowed, or the host is not this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except socket.gaierror as error:
        raise DeploymentError(
            f"--host {host}: expected an address of this machine, such as 0.0.0.0 for all, or its "
            f"name: {error.strerror}"
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise DeploymentError(
                f"{host}:{port}: another program listens there; choose another with --port, "
                "0 for any"
            ) from error
        raise DeploymentError(f"{host}:{port}: cannot listen there: {error.strerror}") from error


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Answers until a signal to stop; then lets answers under way end and returns."""
    # Arrow's own pool keeps what it freed, 30 MB and more after a page about predictions.
    pa.set_memory_pool(pa.system_memory_pool())
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_OPEN_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE,
    )
    # The server raises the signal that stopped it once more, when it has stopped.
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    if before[signal.SIGHUP] is signal.SIG_IGN:  # as under nohup
        del before[signal.SIGHUP]
    try:
        for number in before:
            of_the_server = number in (signal.SIGINT, signal.SIGTERM)
            signal.signal(number, signal.default_int_handler if of_the_server else _as_sigterm)
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        listening.close()


def _as_sigterm(number: int, frame: FrameType | None) -> None:
    """The server handles that one, and SIGINT."""
    signal.raise_signal(signal.SIGTERM)
