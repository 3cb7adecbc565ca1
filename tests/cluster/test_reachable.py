"""Addresses where no cluster answers; nothing of Ray is started here."""

import http.server
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc  # type: ignore[import-untyped]
import pytest
import ray

from manylabel.cluster import ray_cluster, reachable
from manylabel.cluster.errors import ClusterError, UnreachableClusterError
from manylabel.cluster.reachable import check_reachable
from manylabel.storage.errors import Transient

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def outside_a_job(monkeypatch):
    """Of Ray, with a shell's RAY_ADDRESS and a proxy, neither of which answers."""
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    for name in ("http_proxy", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")


@pytest.fixture
def inside_a_job(monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")


@pytest.fixture
def silent():
    """The address of a port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def web():
    """The address of a web server, as Ray's dashboard is one."""
    quiet = type("Quiet", (http.server.BaseHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def head(monkeypatch):
    """head(answer): the address of a head whose method `InternalKVGet` does that."""
    servers = []

    def start(answer):
        from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

        class Values(gcs_service_pb2_grpc.InternalKVGcsServiceServicer):
            def InternalKVGet(self, request, context):
                return gcs_service_pb2.InternalKVGetReply(value=answer(context))

        class Nodes(gcs_service_pb2_grpc.NodeInfoGcsServiceServicer):
            def GetAllNodeInfo(self, request, context):
                return gcs_service_pb2.GetAllNodeInfoReply()

        server = grpc.server(ThreadPoolExecutor(1))
        gcs_service_pb2_grpc.add_InternalKVGcsServiceServicer_to_server(Values(), server)
        gcs_service_pb2_grpc.add_NodeInfoGcsServiceServicer_to_server(Nodes(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None)


def problem(address):
    """The line, which is there within ten seconds."""
    began = time.monotonic()
    with pytest.raises(ClusterError) as caught:
        check_reachable(address)
    assert time.monotonic() - began < 10
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_nobody_listens():
    assert "port 1 cannot be reached (connection refused); check" in problem("127.0.0.1:1")


def test_packets_are_dropped(monkeypatch):
    def drop(address, timeout):
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", drop)
    assert "port 6379 did not answer in 2.5 s" in problem("127.0.0.1:6379")


def test_a_name_that_does_not_resolve():
    assert "the name nowhere.invalid does not resolve" in problem("nowhere.invalid:6379")


def test_a_resolver_that_does_not_answer(monkeypatch):
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked.wait(20))
    assert "the name head was not resolved in 4 s" in problem("head:6379")
    asked.set()


def test_a_service_that_is_not_ray(silent, web):
    assert "no answer of Ray's in 2.5 s" in problem(silent)
    assert "is not the head of a Ray cluster" in problem(web)
    assert "8265 is of the dashboard" in problem(web)


@pytest.mark.parametrize("address", ["http://head:8265", "https://head:8265", "ray://head:10001"])
def test_another_service_of_the_cluster(address):
    assert "give head:6379 on a node of the cluster" in problem(address)


@pytest.mark.parametrize("address", ["head", "head:", "head:ray", "head:0", ":6379"])
def test_what_is_no_address(address):
    assert "expected host:port" in problem(address)


def test_no_token_and_a_wrong_one(head, monkeypatch):
    address = head(lambda context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token"))
    assert "it asks for a token; set RAY_AUTH_MODE=token" in problem(address)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert "it refuses this machine's token; set" in problem(address)


def test_other_versions(head):
    versions = {"ray_version": "2.9.3", "python_version": "3.11.0"}
    line = problem(head(lambda context: json.dumps(versions).encode()))
    assert f"it runs Ray 2.9.3, this machine {ray.__version__}; install the same" in line


def test_a_machine_that_is_no_node(head):
    assert "this machine is no node of it; run the command on a node" in problem(
        head(lambda _: b"")
    )


def test_nothing_is_asked_without_an_address(monkeypatch):
    """Whatever RAY_ADDRESS a shell has: a cluster of one's own is started then."""
    check_reachable(None)
    assert reachable.own_cluster() is None


def test_a_job_asks_its_own_cluster(inside_a_job):
    with pytest.raises(
        UnreachableClusterError, match=r"127\.0\.0\.1:1 could not be joined"
    ) as lost:
        check_reachable(None)
    assert isinstance(lost.value, Transient)


def test_a_job_joins_its_own_cluster(inside_a_job, monkeypatch):
    joined: list[str] = []
    monkeypatch.setattr(ray_cluster, "check_reachable", joined.append)
    monkeypatch.setattr(ray, "init", lambda **options: joined.append(options["address"]))
    with ray_cluster.ray_cluster(None, cpus=1, object_store_bytes=1):
        assert joined == ["127.0.0.1:1", "127.0.0.1:1"]


def test_an_address_that_a_job_is_given_wins(inside_a_job, silent):
    with pytest.raises(ClusterError, match=silent):
        check_reachable(silent)
