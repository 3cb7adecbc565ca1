"""What a pod waits for before it is ended; the head over HTTP, as Ray's Jobs API answers."""

import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from manylabel.deploy.kubernetes import pre_stop as module
from manylabel.deploy.kubernetes.pre_stop import main, pre_stop


class Head:
    """A job that is in one state after another, one a question; time passes only while waiting."""

    def __init__(self, *states):
        self.states = list(states)
        self.asked = []
        self.seconds = 0.0

    def ask(self, method, path):
        self.asked.append((method, path))
        if method == "POST":
            return {"stopped": True}
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, Exception):
            raise state
        return {} if state is None else {"status": state}

    def sleep(self, seconds):
        self.seconds += seconds

    def wait(self, role, seconds=100):
        return pre_stop(role, "job-1", seconds, self.ask, self.sleep, lambda: self.seconds)


def test_the_head_has_its_job_stopped_once_and_waits_until_it_is():
    head = Head("RUNNING", "RUNNING", "STOPPED")
    assert head.wait("head") == "the job is stopped"
    assert head.asked.count(("POST", "/api/jobs/job-1/stop")) == 1
    assert head.asked[0] == ("POST", "/api/jobs/job-1/stop")
    assert head.seconds == 2


def test_a_worker_stops_nothing():
    head = Head("RUNNING", "SUCCEEDED")
    assert head.wait("worker") == "the job is succeeded"
    assert {method for method, _ in head.asked} == {"GET"}


@pytest.mark.parametrize("role", ["head", "worker"])
def test_a_cluster_whose_job_has_ended_is_not_held_up(role):
    head = Head("FAILED")
    head.wait(role)
    assert head.seconds == 0


def test_a_job_that_nobody_knows_is_not_waited_for():
    assert Head(None).wait("worker") == "the job is unknown"


def test_a_worker_goes_on_until_its_time_is_over():
    head = Head("RUNNING")
    assert head.wait("worker", 30) == "the job has not ended within 30 s"
    assert head.seconds == 30


def test_a_head_that_is_gone_is_not_waited_for_and_one_that_stutters_is():
    assert Head(OSError()).wait("worker") == "the head does not answer"
    lost = [OSError()] * 4
    assert Head(*lost, "RUNNING", *lost, "STOPPED").wait("worker") == "the job is stopped"


@pytest.fixture
def served(monkeypatch):
    """A head on a port of its own, and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, body, status=200):
            asked.append((self.command, self.path, self.headers["Authorization"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def do_GET(self):
            gone = self.path.endswith("gone")
            self._answer({"status": "STOPPED"}, 404 if gone else 200)

        def do_POST(self):
            self._answer({"stopped": True})

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(module, "_PORT", server.server_port)
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_speaks_to_ray_with_the_token_and_without_a_proxy(served, monkeypatch, capsys):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    main(["head", "job-1", "10"], {"RAY_AUTH_TOKEN": "secret"})
    assert served == [
        ("POST", "/api/jobs/job-1/stop", "Bearer secret"),
        ("GET", "/api/jobs/job-1", "Bearer secret"),
    ]
    assert capsys.readouterr().out == "the job is stopped\n"


def test_a_worker_asks_the_head_by_the_name_that_kuberay_gives(served, capsys):
    main(["worker", "gone", "10"], {"FQ_RAY_IP": "127.0.0.1"})
    assert capsys.readouterr().out == "the job is unknown\n"


@pytest.mark.parametrize(
    "garbled",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"nothing of HTTP\r\n\r\n",
    ],
)
def test_a_garbled_answer_is_none_and_ends_no_waiting(garbled, monkeypatch, capsys):
    """As of a head that is short of memory; the hook would end, and with it the job's save."""
    answer = b'{"status": "STOPPED"}'
    good = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)
    monkeypatch.setattr(module, "_BETWEEN", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(module, "_PORT", server.getsockname()[1])

        def serve():
            for reply in (garbled, garbled, good):
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        main(["worker", "job-1", "10"], {"FQ_RAY_IP": "127.0.0.1"})
        thread.join()
    assert capsys.readouterr().out == "the job is stopped\n"


def test_it_starts_at_once():
    """Before a pod is ended every second counts: no library of ours, nor Ray, is loaded."""
    code = (
        "import sys, manylabel.deploy.kubernetes.pre_stop\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"ray", "pydantic", "tensorflow", "numpy"}.isdisjoint(done.stdout.split())
