"""What nobody expected: every answer is a page with all headers, and one line in the terminal."""

import warnings

import pytest
from PIL import Image

from manylabel.deploy.dashboard import states, thumbnails
from manylabel.deploy.dashboard.app import create_app
from manylabel.deploy.dashboard.errors import Problems, without_command
from manylabel.deploy.dashboard.pages import runs
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.security import Access
from manylabel.storage.dataset import Dataset

with warnings.catch_warnings():  # Starlette's test client would rather have another httpx.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
DIGITS = "7" * 5_000


def check_page(answer):
    assert "<h1>" in answer.text
    assert "Traceback" not in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/?settings=**x", 400),
        ("/runs/" + "x" * 300, 404),
        ("/runs/" + "%C3%A9" * 130, 404),
        (f"/review?a={'x' * 300}@1", 404),
        (f"/review?a=run-a@{DIGITS}", 400),
        (f"/labels/{DIGITS}?a=run-a@6000", 404),
        (f"/images/{DIGITS}?a=run-a@6000", 404),
        (f"/images/0?a=run-a@6000&wrong={DIGITS}", 400),
        (f"/thumbnails/run-a/{DIGITS}.jpg", 404),
        ("/thumbnails/run-a/x.jpg", 404),
        (f"/thumbnails/{'x' * 300}/0.jpg", 404),
    ],
)
def test_odd_addresses_are_told_and_no_faults(client, filled, caplog, address, status):
    answer = client().get(address)
    # Label and Image ask for the evaluation's tables first, which these runs lack.
    assert answer.status_code == status, answer.text
    assert not caplog.records
    check_page(answer)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(2, "No such file or directory", "/runs/gone"), "/runs/gone: No such"),
        (PermissionError(13, "Permission denied", "/runs/mine"), "/runs/mine: Permission denied"),
        (OSError("a disk\nwithout words"), "a disk without words"),
    ],
)
def test_what_the_disk_refuses_is_told_as_a_page(client, filled, monkeypatch, error, told):
    def refuse(*_):
        raise error

    monkeypatch.setattr(runs, "read_histories", refuse)
    for address in ("/", "/runs.json", "/runs.csv"):
        answer = client().get(address)
        assert answer.status_code == 404
        assert told in answer.text
        check_page(answer)


def test_a_fault_is_logged_in_one_line(filled, monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError("by\nnothing")

    monkeypatch.setattr(runs, "read_histories", fail)
    browser = TestClient(create_app(Store(filled.root), Access()), base_url="http://127.0.0.1")
    for address in ("/", "/runs.json", "/runs.csv"):
        caplog.clear()
        answer = browser.get(address)
        assert answer.status_code == 500
        assert "nothing" not in answer.text
        check_page(answer)
        (record,) = caplog.records
        line = record.getMessage()
        assert f"{address!r}: ZeroDivisionError: by nothing (" in line
        assert "test_faults.py:" in line
        assert "\n" not in line
        assert record.exc_info is None


@pytest.mark.parametrize("error", [ImportError("Install s3fs to access S3"), ValueError("odd")])
def test_a_dataset_of_an_unknown_kind_of_place_is_a_notice(client, filled, monkeypatch, error):
    def refuse(_):
        raise error

    monkeypatch.setattr(Dataset, "open", refuse)
    monkeypatch.setattr(states, "_manifest_at", refuse)
    (filled.root.parent / "dataset" / "manifest.json").unlink()
    answer = client().get("/runs/run-a")
    assert answer.status_code == 200
    assert "cannot be opened from here" in answer.text
    assert client().get("/thumbnails/run-a/0.jpg").status_code == 404


def test_a_bomb_is_no_thumbnail(client, filled, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 48 // 2 - 1)
    monkeypatch.setattr(thumbnails, "_MOST_PIXELS", 10**9)
    answer = client().get("/thumbnails/run-a/0.jpg")
    assert answer.status_code == 404
    assert "too many pixels" in answer.text


@pytest.mark.parametrize(
    ("text", "rest", "command"),
    [
        ("x: cut; run `manylabel a b`", "x: cut", "manylabel a b"),
        ("x: cut; `manylabel a` makes it again", "x: cut", "manylabel a"),
        ("x: cut: run `manylabel a`", "x: cut", "manylabel a"),
        ("x: run `manylabel a` again, it goes on", "x: run `manylabel a` again, it goes on", None),
        ("x: nothing to do", "x: nothing to do", None),
    ],
)
def test_a_command_is_told_once(text, rest, command):
    assert without_command(text) == (rest, command)
    problems = Problems()
    problems.add(text)
    assert vars(problems.found[0]) == {"text": rest, "command": command}
    other = Problems()
    other.add(text, "manylabel other")
    assert vars(other.found[0]) == {"text": rest, "command": "manylabel other"}
