"""The client of Ray's Jobs API, before a server of ours that answers as a head does, or worse."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from manylabel.cluster.errors import ClusterError, UnreachableClusterError
from manylabel.cluster.jobs_api import (
    AlreadySubmittedError,
    JobsApi,
    RayJobState,
    Submission,
    check_address,
)

Answer = tuple[int, str]


class Head:
    """`answers` by method and path; `asked` holds what came, with its token and body."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Answer] = {}
        self.asked: list[tuple[str, str, str | None, bytes]] = []
        self.address = ""


@pytest.fixture
def head(monkeypatch) -> Iterator[Head]:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    head = Head()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            head.asked.append((self.command, self.path, self.headers["Authorization"], body))
            code, text = head.answers.get(
                (self.command, self.path),
                (200, "") if self.command == "PUT" else (404, "not found"),
            )
            self.send_response(code)
            if code == 302:
                self.send_header("Location", text)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PUT = do_DELETE = _answer

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    head.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield head
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_token_goes_with_each_question_but_the_one_at_the_door(head):
    head.answers["GET", "/api/version"] = 401, "Unauthorized"
    api = JobsApi(head.address)
    assert api.asks_for_token()
    with pytest.raises(ClusterError, match="a token that is not the cluster's; set RAY_AUTH_TOKEN"):
        api.version()
    assert [token for _, _, token, _ in head.asked] == [None, "Bearer secret"]


def test_other_secrets_of_the_user_stay_here(head, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    api = JobsApi(head.address.replace("127.0.0.1", "localhost"))
    api._session.trust_env = True  # as for a head elsewhere
    head.answers["GET", "/api/version"] = 200, json.dumps({"ray_version": "2.60.0"})
    assert not api.asks_for_token()
    api.version()
    assert [token for _, _, token, _ in head.asked] == [None, "Bearer secret"]


def test_a_redirection_is_not_followed(head):
    head.answers["GET", "/api/version"] = 302, "http://127.0.0.1:9/api/version"
    with pytest.raises(ClusterError, match="expected Ray's Jobs API, received something else"):
        JobsApi(head.address).version()
    assert len(head.asked) == 1


def test_a_job_that_there_is_not_is_none(head):
    api = JobsApi(head.address)
    assert api.job("a-1") is None
    head.answers["GET", "/api/jobs/a-1"] = 200, json.dumps({"status": "FAILED", "new": 1})
    job = api.job("a-1")
    assert job is not None
    assert job.status is RayJobState.FAILED
    assert job.status.is_final


def test_a_package_is_sent_once(head):
    api = JobsApi(head.address)
    head.answers["POST", "/api/jobs/"] = 200, json.dumps({"submission_id": "a-1"})
    for there in (False, True):
        head.asked.clear()
        api.submit(Submission(submission_id="a-1", entrypoint="true", package=b"zip", gpus=1))
        methods = [method for method, *_ in head.asked]
        assert methods == (["GET", "POST"] if there else ["GET", "PUT", "POST"])
        path = head.asked[0][1]
        head.answers["GET", path] = 200, "true"
    sent = json.loads(head.asked[-1][3])
    assert sent["runtime_env"]["working_dir"] == f"gcs://{path.rpartition('/')[2]}"
    assert (sent["entrypoint_num_gpus"], sent["entrypoint_num_cpus"]) == (1.0, None)


def test_an_id_that_is_taken_is_told_apart(head):
    head.answers["POST", "/api/jobs/"] = 500, "RuntimeError: Job with submission_id already exists"
    with pytest.raises(AlreadySubmittedError):
        JobsApi(head.address).submit(Submission(submission_id="a-1", entrypoint="true"))


def test_what_a_head_refuses_is_one_line(head):
    head.answers["POST", "/api/jobs/a-1/stop"] = 500, "Traceback\n  File\nValueError: no\n"
    with pytest.raises(ClusterError, match=r"it answers 500: ValueError: no$"):
        JobsApi(head.address).stop("a-1")


def test_nothing_that_answers_may_be_tried_again(head):
    closed = head.address.rpartition(":")[0] + ":9"
    with pytest.raises(UnreachableClusterError, match="Connection refused; is the cluster up"):
        JobsApi(closed).version()


def test_https_before_a_head_that_speaks_http_is_no_trouble_of_the_moment(head):
    with pytest.raises(ClusterError, match="a head speaks http://") as info:
        JobsApi(head.address.replace("http:", "https:")).version()
    assert not isinstance(info.value, UnreachableClusterError)


@pytest.mark.parametrize("token", ["one\ntwo", "tökén"])
def test_a_token_that_is_none_is_told(head, monkeypatch, token):
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    with pytest.raises(ClusterError, match="RAY_AUTH_TOKEN: expected a token of one line"):
        JobsApi(head.address).version()
    assert head.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "head:8265",
        "http://head",
        "http://head:0x1",
        "http://[::1:8265",
        "http://h:1/x",
        "http://:p@h:1",
    ],
)
def test_what_is_no_address_is_told(address):
    with pytest.raises(ClusterError, match="expected the address of a cluster's Jobs API, as http"):
        check_address(address)


def test_an_address_loses_its_slash():
    strip: Callable[[str], str] = check_address
    assert strip("http://[::1]:8265/") == "http://[::1]:8265"
