"""A real server on the loopback interface that behaves as a test says."""

import http.server
import threading
from collections import Counter

import pytest


class Server(http.server.ThreadingHTTPServer):
    """Answers each path as `answers` says: bytes, or a function that is given the handler.

    Attributes:
        asked: how often each path was asked for, with its query.
        closing: set when the test is over; what waits, waits for it.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = {}
        self.asked: Counter[str] = Counter()
        self.headers = []
        self.connections = 0
        self.closing = threading.Event()

    def url(self, path, host="127.0.0.1"):
        return f"http://{host}:{self.server_port}{path}"

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def handle_error(self, request, client_address):
        """Clients hang up here."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self):
        self.server.asked[self.path] += 1
        self.server.headers.append(self.headers)
        answer = self.server.answers.get(self.path.partition("?")[0])
        if answer is None:
            self.send(404, b"no such page")
        elif isinstance(answer, bytes):
            self.send(200, answer)
        else:
            answer(self)

    do_HEAD = do_GET

    def send(self, status, body=b"", **headers):
        """A whole answer; `Content_Length=None` leaves that header out."""
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.closing.set()
        server.shutdown()
