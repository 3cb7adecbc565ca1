"""A planted better run shows as better, a copy as not shown; who lacks the token sees nothing."""

import errno
import socket

import pytest

from benchmarks._dashboard import serving

MOST_REPORT_BYTES = 2_000_000


def test_a_better_run_shows_as_better(visiting, store):
    visit = visiting()

    visit.open(f"/review?a={store.better}")

    assert visit.page.locator("h1").inner_text().startswith("Better by +0.")


def test_a_better_run_is_listed_with_its_difference(visiting, store):
    visit = visiting()

    visit.open("/")

    row = visit.page.locator("tr", has_text="better")
    assert "+0." in row.inner_text()


def test_a_copy_shows_no_difference(visiting, store):
    visit = visiting()

    visit.open(f"/review?a={store.copied}")

    assert visit.page.locator("h1").inner_text().startswith("Not shown")
    assert "0.0000" in visit.page.locator("h1").inner_text()


def test_the_verdict_is_that_of_the_command(visiting, store, manylabel):
    """The page and the terminal tell the same difference."""
    visit = visiting()
    visit.open(f"/review?a={store.better}")
    told = visit.page.locator("h1").inner_text().split()[2]

    run, _, step = store.better.partition("@")
    printed = manylabel("review", str(store.root / run), step)

    assert told in printed


def test_the_report_opens_without_network_and_holds_no_script(browser, store):
    report = store.root / "review.html"
    assert report.stat().st_size < MOST_REPORT_BYTES
    requests = []
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.on("request", lambda request: requests.append(request.url))

    page.goto(report.as_uri())

    assert page.locator("script").count() == 0
    assert page.locator("h1").count() == 1
    assert [each for each in requests if not each.startswith(("file:", "data:"))] == []
    assert page.locator("[onclick], [onload], [onerror]").count() == 0
    context.close()


@pytest.fixture(scope="module")
def guarded(store):
    """A dashboard that asks for a token."""
    with serving(store.root, "--host", "127.0.0.1") as dashboard:
        yield dashboard


@pytest.mark.parametrize("query", ["", "?token=wrong", "?token=", "?form=image"])
def test_a_wrong_token_is_refused(browser, guarded, query):
    context = browser.new_context()
    page = context.new_page()

    for path in ("/", "/runs/run", "/review", "/runs.json", "/thumbnails/run/0.jpg"):
        answer = page.goto(guarded.url + path + query)

        assert answer.status == 403, path
        assert "run" not in page.locator("main").inner_text().split(), path
        assert context.cookies() == [], path
    context.close()


def test_the_printed_address_opens_every_page_and_hides_the_token(browser, guarded):
    token = guarded.opened.partition("?token=")[2]
    context = browser.new_context()
    page = context.new_page()

    assert page.goto(guarded.opened).status == 200
    assert page.url == f"{guarded.url}/"
    assert page.goto(f"{guarded.url}/runs/run?form=image&token={token}").status == 200
    assert page.url == f"{guarded.url}/runs/run?form=image"
    assert page.goto(f"{guarded.url}/review").status == 400
    (cookie,) = context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    context.close()


def test_it_listens_on_this_machine_alone(served):
    """Whoever listens on every address answers at 127.0.0.2 as well."""
    port = int(served.url.rpartition(":")[2])

    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", port)) == errno.ECONNREFUSED
