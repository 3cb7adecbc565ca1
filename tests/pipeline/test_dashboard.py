"""The command `dashboard`: where it listens, for whom, and how it ends."""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from manylabel.deploy.errors import DeploymentError
from manylabel.pipeline.cli import run
from manylabel.pipeline.dashboard import serve_dashboard
from manylabel.pipeline.errors import CommandError
from manylabel.storage.stop_signals import STOP_SIGNALS

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from manylabel.pipeline.cli import main; main()", "dashboard"]


def refuse(url):
    pytest.fail(f"listens at {url}")


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CommandError, match="expected a folder of runs, found none"):
        serve_dashboard(tmp_path / "runs", None, 0, None, refuse)


def test_a_run_is_no_folder_of_runs(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(CommandError, match=f"manylabel dashboard {tmp_path.parent}"):
        serve_dashboard(tmp_path, None, 0, None, refuse)


@pytest.mark.parametrize(
    "token", ["", "short", "has a space in the middle", "x" * 201, "sémicolon;x" * 3]
)
def test_a_simple_token_is_refused(tmp_path, token):
    with pytest.raises(CommandError, match="--token"):
        serve_dashboard(tmp_path, "0.0.0.0", 0, token, refuse)


def test_a_port_in_use_is_one_line_and_exit_code_2(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["dashboard", str(tmp_path), "--port", str(port)]) == 2
    problem = capsys.readouterr().err
    assert f"127.0.0.1:{port}: another program listens there" in problem
    assert problem.count("\n") == 1


def test_a_host_that_is_not_this_machine_is_told(tmp_path):
    with pytest.raises(DeploymentError, match=r"--host nowhere\.invalid"):
        serve_dashboard(tmp_path, "nowhere.invalid", 0, None, refuse)
    with pytest.raises(DeploymentError, match=r"192\.0\.2\.1:0: cannot listen there"):
        serve_dashboard(tmp_path, "192.0.2.1", 0, None, refuse)


def started(*arguments):
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline()


@pytest.mark.parametrize("stop", STOP_SIGNALS, ids=lambda number: number.name)
def test_it_answers_until_it_is_stopped_and_ends_well(tmp_path, stop):
    process, line = started(str(tmp_path))
    url = re.match(r"(http://127\.0\.0\.1:\d+/)  \(Ctrl-C", line)
    assert url is not None, line
    with urllib.request.urlopen(url[1]) as answer:
        assert "No runs in" in answer.read().decode()
        assert "server" not in answer.headers
    process.send_signal(stop)
    _, problems = process.communicate(timeout=20)
    assert (process.returncode, problems) == (0, "")


def test_with_a_host_it_asks_for_the_token_it_printed(tmp_path):
    process, line = started(str(tmp_path), "--host", "localhost")
    try:
        url = line.split()[0]
        assert re.fullmatch(r"http://localhost:\d+/\?token=[\w-]{30,}", url)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url.partition("?")[0])
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        assert opener.open(url).status == 200
        assert opener.open(url.partition("?")[0]).status == 200  # By its cookie.
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_a_request_under_way_does_not_hold_up_the_end(tmp_path):
    process, line = started(str(tmp_path))
    port = int(line.split()[0].rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")  # And never the rest.
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert time.monotonic() - began < 10
