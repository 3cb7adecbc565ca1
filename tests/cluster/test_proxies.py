"""The Jobs API where the environment names a proxy that does not answer."""

import http.server
import threading

import pytest

from manylabel.cluster.errors import UnreachableClusterError
from manylabel.cluster.jobs_api import JobsApi


@pytest.fixture(autouse=True)
def dead_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


class _AsksForToken(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(401)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def port():
    """Of a server that asks for a token."""
    with http.server.HTTPServer(("127.0.0.1", 0), _AsksForToken) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_reached_by_no_proxy(port, host):
    assert JobsApi(f"http://{host}:{port}").asks_for_token()


def test_a_proxy_that_leads_nowhere_is_told_with_what_to_do():
    with pytest.raises(UnreachableClusterError, match=r"not lead there; set no_proxy=10\.9\.9\.9$"):
        JobsApi("http://10.9.9.9:8265").asks_for_token()
