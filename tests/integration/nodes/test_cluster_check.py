"""`manylabel cluster check` on clusters of machines that have each something wrong with them."""

import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from manylabel.cluster.check import check_cluster
from manylabel.cluster.jobs_api import JobsApi
from tests.integration.nodes import _ray_nodes
from tests.integration.nodes._ray_nodes import BIN, RayNodes

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(_ray_nodes.cannot() is not None, reason=str(_ray_nodes.cannot())),
]

NETWORK = 4
PRIVATE, STRANGE = 2, 3

# As an agent that knows of no tokens: older ones, and those of a node without the variable.
AGENT_WITHOUT_TOKENS = """
import sys

if any(word.endswith("dashboard/agent.py") for word in sys.orig_argv):
    from ray._private.authentication import authentication_utils

    authentication_utils.is_token_auth_enabled = lambda: False
"""


class UnequalNodes(RayNodes):
    """The third has another manylabel, and an agent that starts jobs for anyone."""

    def start(self, node):
        before = self.environment
        if node == STRANGE:
            self.environment = {**before, "PYTHONPATH": str(self.folder / "strange")}
        super().start(node)
        self.environment = before


@pytest.fixture
def folder(monkeypatch):
    """For a cluster's files; Ray's sockets in it need a short path.

    It is the current folder as well: `ray start` itself executes modules of that.
    """
    path = Path("/tmp/mlt4")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    monkeypatch.chdir(path)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def unequal(folder):
    """Three nodes of which the first is as it should be, and a folder that the second lacks."""
    strange, private, shared = folder / "strange", folder / "private", folder / "shared"
    (strange / "manylabel").mkdir(parents=True)
    (strange / "manylabel" / "__init__.py").touch()
    (strange / "manylabel-9.9.dist-info").mkdir()
    (strange / "manylabel-9.9.dist-info" / "METADATA").write_text("Name: manylabel\nVersion: 9.9\n")
    (strange / "sitecustomize.py").write_text(AGENT_WITHOUT_TOKENS)
    private.mkdir()
    shared.mkdir()
    with UnequalNodes(folder, network=NETWORK) as nodes:
        nodes.run(PRIVATE, "mount", "--bind", str(private), str(shared), check=True)
        yield nodes


def errors(done):
    lines = done.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines), done.stderr
    return [line.removeprefix("error: ") for line in lines]


def test_each_thing_that_is_wrong_is_a_line_with_what_to_do(unequal, monkeypatch):
    shared = unequal.folder / "shared"
    asked = ["--folder", str(shared), "--workers", "7", "--cpus", "1"]
    done = unequal.manylabel("cluster", "check", unequal.address, *asked)
    assert done.returncode == 2, done.stderr + done.stdout
    private, strange = unequal.ip(PRIVATE), unequal.ip(STRANGE)
    expected = [
        rf"{strange}: the node's agent \(port \d+\) asks for no token: .*; start Ray on every node "
        "with RAY_AUTH_MODE=token",
        rf"{strange}: expected manylabel \S+ .* it has 9.9 in {unequal.folder}/strange/manylabel; "
        "install the same version",
        rf"{private}: {shared} is not shared: .*; mount the same storage",
        r"expected room for 7 workers with 1 cores and 0 GPUs each; .*; lower trainer.topology",
    ]
    found = errors(done)
    assert len(found) == len(expected), found
    for line, pattern in zip(found, expected, strict=True):
        assert re.match(pattern, line), line
    table = done.stdout.splitlines()
    assert [
        re.split(r"\s{2,}", row.strip())[-2] for row in table if row.strip().startswith("10.77.")
    ] == ["token", "token", "open"]
    assert [path for path in shared.iterdir() if path.is_file()] == []
    assert not list((unequal.folder / "private").iterdir())

    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(unequal.token_path))
    api = JobsApi(unequal.address)
    seconds = check_cluster(api, [str(shared)]).seconds
    assert seconds < 10, "3.7 on an idle machine"

    unequal.cut(STRANGE)
    done = unequal.manylabel("cluster", "check", unequal.address)
    assert done.returncode == 2
    assert f"error: {strange}: the node could not be looked at: no answer" in done.stderr

    wrong = {**unequal.environment, "RAY_AUTH_TOKEN": "of another cluster"}
    done = unequal.manylabel("cluster", "check", unequal.address, env=wrong)
    assert done.returncode == 2
    (line,) = errors(done)
    assert "token that is not the cluster's; set RAY_AUTH_TOKEN" in line


def test_an_open_cluster_is_found_and_its_agent(folder):
    with RayNodes(folder, network=NETWORK, count=1, token=False) as nodes:
        done = nodes.manylabel("cluster", "check", nodes.address)
    assert done.returncode == 2
    cluster, agent = errors(done)
    assert re.match(r"the cluster asks for no token: whoever .*; start Ray on every node", cluster)
    assert re.match(rf"{nodes.ip(1)}: the node's agent \(port 52365\) asks for no token", agent)


@pytest.fixture(scope="module")
def something_else():
    """The port of a web server that is no cluster."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:8265", "expected the address of a cluster's Jobs API, as http://HEAD:8265"),
        ("ray://127.0.0.1:10001", "expected the address of a cluster's Jobs API, as http://HEAD"),
        ("http://127.0.0.1", "expected the address of a cluster's Jobs API, as http://HEAD:8265"),
        ("http://127.0.0.1:8265/jobs", "expected the address of a cluster's Jobs API, as http"),
        ("http://127.0.0.1:{closed}", "Connection refused; is the cluster up"),
        ("https://127.0.0.1:{other}", "https://127.0.0.1:"),
        ("http://no-such-host.invalid:8265", "is the cluster up"),
        ("http://127.0.0.1:{other}", "http://127.0.0.1:"),
        ("http://10.255.255.1:8265", "http://10.255.255.1:8265"),
    ],
)
def test_a_wrong_address_is_a_line_within_ten_seconds(address, told, something_else):
    """Also where the environment names a proxy, which nobody asks for the loopback interface."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = address.format(closed=closed.getsockname()[1], other=something_else)
        proxies = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:1")
        environment = {**os.environ, **(proxies if "127.0.0.1" in url else {})}
        start = time.monotonic()
        done = subprocess.run(
            [str(BIN / "manylabel"), "cluster", "check", url],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert time.monotonic() - start < 10
    assert done.returncode in (2, os.EX_TEMPFAIL), done.stderr
    (line,) = errors(done)
    assert told in line
