"""The dashboard's process."""

import socket

import pyarrow as pa
import pytest
import uvicorn
from starlette.applications import Starlette

from manylabel.deploy.dashboard.server import listen, serve
from manylabel.deploy.errors import DeploymentError


@pytest.fixture
def pool():
    before = pa.default_memory_pool()
    yield
    pa.set_memory_pool(before)


def test_what_tables_took_goes_back_to_the_machine(monkeypatch, pool):
    seen = []
    monkeypatch.setattr(
        uvicorn.Server, "run", lambda *_, **__: seen.append(pa.default_memory_pool().backend_name)
    )
    serve(Starlette(), listen("127.0.0.1", 0))
    assert seen == ["system"]


def test_a_port_in_use_is_told():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(DeploymentError, match="another program listens there"):
            listen("127.0.0.1", port)
