"""Every page: without an error, of this server alone, and fit to be looked at."""

import html
import re

import pytest

PAGES = {
    "runs": "/",
    "run": "/runs/run",
    "review": "/review?a={newest}",
    "label": "/labels/{label}?a={newest}",
    "image": "/images/0?a={newest}",
    "other form": "/review?a={newest}&form=image",
    "planted run": "/runs/better",
    "planted review": "/review?a={better}",
    "planted label": "/labels/{label}?a={better}",
    "review of a copy": "/review?a={copied}",
    "unwritten review": "/review?a={newest}&b={better}",
}
KINDS = {"json": "application/json", "csv": "text/csv", "svg": "image/svg+xml"}


@pytest.fixture(params=PAGES, ids=lambda name: name.replace(" ", "-"))
def address(request, store) -> str:
    return PAGES[request.param].format_map(vars(store))


def test_a_page_is_whole_and_can_be_read(visiting, address):
    visit = visiting()

    answer = visit.open(address)

    assert answer.status == 200
    assert visit.page.locator("h1").count() == 1
    assert visit.page.locator(".problems").count() == 0
    assert visit.looks("unnamedDrawings") == []
    assert visit.looks("missingPictures") == []
    for scheme in ("light", "dark"):
        visit.page.emulate_media(color_scheme=scheme)
        assert visit.looks("lowContrast") == []
    for width in (1200, 820, 390):
        visit.page.set_viewport_size({"width": width, "height": 900})
        assert visit.looks("sideways") == [], width
        assert visit.looks("crowdedDrawings") == [], width


def test_what_a_page_links_to_is_there(visiting, address):
    """Files, each of its kind, and pages."""
    visit = visiting()
    fetch = visit.page.request.get
    hrefs = re.findall(r'<a[^>]* href="(/[^"#]*)', fetch(visit.url + address).text())
    links = sorted({html.unescape(href) for href in hrefs})
    endings = {link: link.partition("?")[0].rpartition(".")[2] for link in links}
    files = [link for link in links if endings[link] in KINDS]
    pages = [link for link in links if endings[link] not in KINDS]
    assert files
    assert pages

    for link in [*files, *pages[:10]]:
        answer = fetch(visit.url + link)

        assert answer.status == 200, link
        assert answer.headers["content-type"].startswith(KINDS.get(endings[link], "text/html")), (
            link
        )


@pytest.mark.parametrize("path", ["/nothing", "/runs/nobody", "/review", "/labels/0?a=x"])
def test_a_wrong_address_is_told_on_a_page(visiting, path):
    visit = visiting()

    answer = visit.open(path)

    assert answer.status in (400, 404)
    assert visit.page.locator("h1").count() == 1
    assert visit.page.get_by_role("link", name="Runs").count() == 1
    assert visit.looks("sideways") == []
    visit.faults.clear()  # The console tells of the status, as it should.
