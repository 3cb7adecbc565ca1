"""Who may ask, for what, and what browsers are told about the answers."""

import warnings

import pytest

from manylabel.deploy.dashboard.app import create_app
from manylabel.deploy.dashboard.pages import runs
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.security import Access

with warnings.catch_warnings():  # Starlette's test client would rather have another httpx.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

TOKEN = "correct-horse-battery"


@pytest.fixture
def guarded(client, filled):
    return client(Access.of("0.0.0.0", TOKEN, ("trainer.lan",)), "10.1.2.3:8090")


def test_on_this_machine_nothing_is_asked(client, filled):
    assert client().get("/").status_code == 200


def test_another_host_always_has_a_token():
    access = Access.of("0.0.0.0", None)
    assert access.token is not None
    assert len(access.token) >= 30
    assert access.token != Access.of("0.0.0.0", None).token


@pytest.mark.parametrize(
    "address", ["/", "/runs/run-a", "/runs.json", "/runs.csv", "/runs/run-a/map.svg", "/nowhere"]
)
@pytest.mark.parametrize("query", ["", "?token=wrong", "?token=", "?token=correct-horse"])
def test_without_the_token_nothing_is_shown(guarded, filled, address, query):
    answer = guarded.get(address + query, follow_redirects=False)
    assert answer.status_code == 403
    assert "Token wanted" in answer.text
    assert "run-a" not in answer.text.replace(address, "")
    assert str(filled.root) not in answer.text
    assert "as read at" not in answer.text  # It was made when the server started.


def test_the_token_becomes_a_cookie_and_leaves_the_address(guarded):
    answer = guarded.get(f"/runs/run-a?token={TOKEN}&form=image", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/runs/run-a?form=image"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    # A strict one is not sent after the redirect of a visitor who came by a link in a mail.
    assert "samesite=lax" in cookie
    assert guarded.get("/runs/run-a").status_code == 200


@pytest.mark.parametrize("cookie", ["manylabel=x", "manylabel-1=\xff", ";;;=", "a=b; manylabel"])
def test_a_wrong_or_broken_cookie_is_no_token(guarded, cookie):
    answer = guarded.get("/", headers={"cookie": cookie.encode("latin-1")})
    assert answer.status_code == 403


def test_a_token_with_odd_bytes_is_wrong_and_no_error(guarded):
    assert guarded.get("/?token=%ff%00é").status_code == 403


def test_the_redirect_stays_on_this_server(guarded):
    answer = guarded.get(f"//evil.example/?token={TOKEN}", follow_redirects=False)
    assert not answer.headers.get("location", "/").startswith("//")


@pytest.mark.parametrize("name", ["a%3Fb", "a%23b", "100%25", "a%20b", "%C3%A9", "%5Cevil"])
def test_the_redirect_leads_to_the_same_name(guarded, name):
    answer = guarded.get(f"/runs/{name}?token={TOKEN}&form=image", follow_redirects=False)
    assert answer.headers["location"] == f"/runs/{name}?form=image"


def test_the_page_that_asks_for_the_token_has_its_styles(guarded):
    assert guarded.get("/static/style.css").status_code == 200
    assert guarded.get("/static/../app.py").status_code in (403, 404)
    assert guarded.get("/static/%2e%2e/app.py").status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_reading_is_possible(client, filled, method):
    answer = client().request(method, "/")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_head_has_no_body(client, filled):
    answer = client().head("/runs/run-a")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8090", "127.0.0.1.evil.example", "10.0.0.7", "", "[::2]:1"],
)
def test_a_name_that_is_not_this_machine_s_is_refused(client, filled, host):
    answer = client().get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "run-a" not in answer.text


@pytest.mark.parametrize("host", ["localhost:8090", "127.0.0.1", "[::1]:8090", "LOCALHOST"])
def test_this_machine_has_several_names(client, filled, host):
    assert client().get("/", headers={"host": host}).status_code == 200


def test_with_a_token_addresses_and_own_names_are_answered(guarded):
    for host in ("10.1.2.3", "trainer.lan:8090", "Trainer.Lan"):
        assert guarded.get("/", headers={"host": host}).status_code == 403
    assert guarded.get("/", headers={"host": "evil.example"}).status_code == 421


def test_other_sites_may_link_here_but_not_read(client, filled):
    there = {"sec-fetch-site": "cross-site"}
    browser = client()
    assert browser.get("/", headers=there | {"sec-fetch-mode": "navigate"}).status_code == 200
    assert browser.get("/", headers=there | {"sec-fetch-mode": "no-cors"}).status_code == 403
    assert browser.get("/runs.json", headers=there | {"sec-fetch-mode": "cors"}).status_code == 403
    own = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert browser.get("/runs.json", headers=own).status_code == 200


@pytest.mark.parametrize("address", ["/", "/runs.json", "/static/page.js", "/nowhere", "/runs.csv"])
def test_every_answer_carries_the_policy(client, filled, address):
    headers = client().get(address).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "name",
    [
        "%2e%2e%2fetc",
        "..%2f..%2fetc",
        "%2fetc%2fpasswd",
        "a%00b",
        "%5c..%5c",
        ".",
        "~",
        "no-such-run",
    ],
)
def test_names_never_lead_out_of_the_root(client, filled, name):
    answer = client().get(f"/runs/{name}")
    assert answer.status_code == 404
    assert "root:" not in answer.text


def test_a_link_out_of_the_root_is_no_run(client, filled, tmp_path):
    secret = tmp_path / "elsewhere"
    (filled.root / "run-a").rename(secret)
    (filled.root / "run-a").symlink_to(secret)
    browser = client()
    assert browser.get("/runs/run-a").status_code == 404
    assert browser.get("/thumbnails/run-a/0.jpg").status_code == 404
    assert "run-a" not in [run["name"] for run in browser.get("/runs.json").json()["runs"]]


def test_names_are_shown_as_text(client, folder):
    folder.add_run("<img src=x onerror=alert(1)>", 2)
    text = client().get("/").text
    assert "<img" not in text
    assert "&lt;img" in text


@pytest.mark.parametrize("settings", ["../../x", "%2e%2e", "a/b", "*", "a%00", "é", "x" * 101])
@pytest.mark.parametrize("address", ["/", "/runs/run-a", "/runs.json", "/review?a=run-a@6000&x=1"])
def test_settings_are_names_and_no_paths(client, filled, address, settings):
    answer = client().get(f"{address}{'&' if '?' in address else '?'}settings={settings}")
    assert answer.status_code == 400
    assert "expected a name" in answer.text


def test_a_fault_of_ours_is_a_page_that_says_so_and_no_more(filled, monkeypatch):
    monkeypatch.setattr(runs, "read_histories", lambda *_: 1 / 0)
    app = create_app(Store(filled.root), Access())
    browser = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    answer = browser.get("/")
    assert answer.status_code == 500
    assert "a fault of the dashboard&#39;s own" in answer.text
    assert "ZeroDivision" not in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]
