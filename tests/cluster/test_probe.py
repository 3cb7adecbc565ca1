"""What a node is asked, without a cluster."""

import ast
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from manylabel.cluster import probe

OLDEST_PYTHON = (3, 9)


@pytest.fixture
def agent():
    """agent(status, asked) -> its port; `asked` gets the requests."""
    servers = []

    def start(status, asked):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append((self.command, self.path, self.headers.get("Authorization")))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1].server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_it_runs_with_older_pythons_and_without_this_package():
    source = Path(probe.__file__).read_text("utf-8")
    tree = ast.parse(source, feature_version=OLDEST_PYTHON)
    needed = {
        name.partition(".")[0]
        for node in tree.body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert needed <= sys.stdlib_module_names


def test_an_agent_is_asked_for_nothing_and_shown_no_token(agent, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    asked: list[tuple[str, str, str | None]] = []
    assert probe.ask_agent("127.0.0.1", agent(401, asked)) == 401
    assert probe.ask_agent("127.0.0.1", agent(405, asked)) == 405
    assert asked == [("GET", "/api/job_agent/jobs/", None)] * 2


def test_an_agent_that_is_not_there_has_no_answer():
    assert probe.ask_agent("127.0.0.1", 1) is None


def test_a_node_that_shares_a_folder_sees_what_was_written_in_it(tmp_path):
    trial = probe.begin_trial(str(tmp_path))
    expected = {"path": str(tmp_path), "exists": True, "problem": None, "same": True}
    assert probe.see_trial(str(tmp_path), trial) == expected
    assert len(list(tmp_path.iterdir())) == 1, "what the node wrote is gone"
    probe.end_trial(trial)
    assert list(tmp_path.iterdir()) == []


def test_a_node_with_a_folder_of_its_own_does_not(tmp_path):
    trial = probe.begin_trial(str(tmp_path))
    path = Path(trial["path"])
    path.unlink()
    assert probe.see_trial(str(tmp_path), trial)["same"] is False
    path.write_text("of another")
    assert probe.see_trial(str(tmp_path), trial)["same"] is False


def test_a_folder_to_be_made_is_tried_by_the_one_above(tmp_path):
    folder = str(tmp_path / "run")
    trial = probe.begin_trial(folder)
    found = probe.see_trial(folder, trial)
    probe.end_trial(trial)
    assert found == {"path": folder, "exists": True, "problem": None, "same": True}
    assert not os.path.exists(folder)


@pytest.mark.parametrize("folder", ["/not-there-at-all", "/not/there/at/all"])
def test_a_folder_that_is_not_there_is_not_looked_for_at_the_top(folder):
    trial = probe.begin_trial(folder)
    found = probe.see_trial(folder, trial)
    assert not found["exists"]
    assert found["same"] is None
    assert not [path for path in os.listdir("/") if path.startswith(probe._TRIAL)]


def test_a_folder_that_cannot_be_written_says_why(tmp_path, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(probe, "open", refuse, raising=False)  # root may write anywhere
    trial = probe.begin_trial(str(tmp_path))
    found = probe.see_trial(str(tmp_path), trial)
    expected = {"exists": True, "problem": "Permission denied", "same": None}
    assert found == {"path": str(tmp_path), **expected}


def test_this_node_tells_of_itself(tmp_path):
    seen = probe.look("127.0.0.1", 1, {}, [str(tmp_path), "/not-there-at-all"])["seen"]
    assert seen["python"].split(".")[:2] == [str(part) for part in sys.version_info[:2]]
    assert seen["package"]["location"].endswith("manylabel")
    assert seen["agent"] is None
    assert seen["open_files"] > 0
    assert [(each["exists"], each["problem"]) for each in seen["folders"]] == [
        (True, None),
        (False, "cannot be read"),
    ]


def test_another_package_of_our_name_is_told_by_its_place(tmp_path, monkeypatch):
    (tmp_path / "manylabel").mkdir()
    (tmp_path / "manylabel" / "__init__.py").touch()
    for name in [name for name in sys.modules if name.partition(".")[0] == "manylabel"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(probe.importlib.metadata, "version", lambda name: "9.9")
    assert probe._package() == {"version": "9.9", "location": str(tmp_path / "manylabel")}
