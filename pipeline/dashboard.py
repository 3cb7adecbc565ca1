"""The stage `dashboard`: pages about a folder of runs, here or for those who have the token."""

import re
import socket
from collections.abc import Callable
from pathlib import Path

from manylabel.deploy.dashboard.app import create_app
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.security import PARAMETER, Access
from manylabel.deploy.dashboard.server import listen, serve
from manylabel.pipeline.errors import CommandError
from manylabel.trainer.runs.directory import is_described

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")
_EVERYWHERE = ("0.0.0.0", "::")


def serve_dashboard(
    root: Path,
    host: str | None,
    port: int,
    token: str | None,
    on_ready: Callable[[str], None],
) -> None:
    """Shows pages about the runs below a folder until Ctrl-C.

    Args:
        host: Address or name to listen on; None: this machine alone, and no token is asked for.
        port: 0 for any that is free.
        token: What visitors must know; None: with a host, one is made.
        on_ready: Told the address, with its token, before the first visitor can come.

    Raises:
        CommandError: there is no such folder, it is a run itself, or the token is too simple.
        DeploymentError: it cannot listen there.
    """
    if not root.is_dir():
        raise CommandError(
            f"{root}: expected a folder of runs, found none; name it: manylabel dashboard ROOT"
        )
    if is_described(root):
        raise CommandError(
            f"{root}: expected a folder of runs, received a run; name the folder that it is in: "
            f"manylabel dashboard {root.absolute().parent}"
        )
    if token is not None and not _TOKEN.fullmatch(token):
        raise CommandError(
            "--token: expected 16 to 200 letters, digits or any of . _ ~ -, received something "
            "else; leave it out with --host, and one is made"
        )
    access = Access.of(host, token, (socket.gethostname(), socket.getfqdn()))
    with listen(access.host, port) as listening:
        on_ready(_address(access, listening.getsockname()[1]))
        serve(create_app(Store(root), access), listening)


def _address(access: Access, port: int) -> str:
    host = socket.gethostname() if access.host in _EVERYWHERE else access.host
    shown = f"[{host}]" if ":" in host else host
    token = "" if access.token is None else f"?{PARAMETER}={access.token}"
    return f"http://{shown}:{port}/{token}"
