"""What people do on the pages: links, sorting, searching, the keyboard."""

import re

import pytest


@pytest.fixture
def review(visiting, store):
    """A visit to the review with the table of all labels."""
    visit = visiting()
    visit.open(f"/review?a={store.better}")
    return visit


def rows(visit) -> list[list[str]]:
    """The texts of the label table's rows in sight."""
    return visit.page.locator(".data-table tbody tr[aria-rowindex]").evaluate_all(
        "all => all.map(row => [...row.cells].map(cell => cell.textContent.trim()))"
    )


def column(visit, key) -> list[str]:
    keys = visit.page.locator(".data-table thead th").evaluate_all(
        "all => all.map(each => [each.dataset.key, each.cellIndex])"
    )
    place = dict(keys)[key]
    return [row[place] for row in rows(visit)]


def test_from_the_runs_to_an_image(visiting, store):
    visit = visiting()
    visit.open("/")

    visit.page.get_by_role("link", name="run", exact=True).first.click()
    visit.page.wait_for_url("**/runs/run*")
    visit.page.locator(f"main a[href*='/review?a={store.newest}']").first.click()
    visit.page.wait_for_url("**/review?*")
    visit.page.locator(".data-table tbody a").first.click()
    visit.page.wait_for_url("**/labels/*")
    visit.page.locator("main a[href*='/images/']").first.click()
    visit.page.wait_for_url("**/images/*")

    assert visit.page.locator("main img").count() >= 1


def test_a_deep_link_shows_what_was_shown(review, visiting):
    page = review.page
    page.locator("th[data-key=heldout_count] a").click()
    page.get_by_role("searchbox").fill("a")
    page.wait_for_url(re.compile("q=a"))
    shown = rows(review)
    assert shown

    again = visiting()
    again.open(review.address())

    assert rows(again) == shown
    assert again.page.get_by_role("searchbox").input_value() == "a"
    assert (
        again.page.locator("th[aria-sort=descending]").get_attribute("data-key") == "heldout_count"
    )


def test_the_address_holds_no_defaults(review, store):
    assert review.address() == f"/review?a={store.better}"
    page = review.page

    page.locator("th[data-key=label] a").click()
    page.get_by_role("searchbox").fill("x")
    page.wait_for_url(re.compile("q=x"))
    page.get_by_role("searchbox").fill("")
    page.locator("th[data-key=contribution] a").click()
    page.wait_for_url(re.compile(r"^[^&]*$"))

    assert review.address() == f"/review?a={store.better}"


def test_a_click_on_a_heading_sorts(review):
    heading = review.page.locator("th[data-key=heldout_count]")

    heading.locator("a").click()
    review.page.wait_for_url(re.compile("sort=-heldout_count"))
    down = [int(text.replace(",", "")) for text in column(review, "heldout_count")]
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("a").click()
    review.page.wait_for_url(re.compile("sort=heldout_count"))
    up = [int(text.replace(",", "")) for text in column(review, "heldout_count")]

    assert down == sorted(down, reverse=True)
    assert up == sorted(up)
    assert down[0] > up[0]


def test_the_server_sorts_as_the_browser_does(review, browser):
    """Without scripts the headings' links do the same."""
    page, context = review.page, browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    for key in ("label", "train_count", "heldout_count", "contribution", "q"):
        page.locator(f"th[data-key={key}] a").click()
        page.locator(f"th[data-key={key}][aria-sort]").wait_for()

        plain.goto(page.url)

        by_server = plain.locator(".data-table tbody tr[aria-rowindex]").evaluate_all(
            "all => all.map(row => [...row.cells].map(cell => cell.textContent.trim()))"
        )
        assert rows(review)[:20] == by_server[:20], key
    context.close()


def test_a_search_keeps_the_rows_that_fit(review):
    name = column(review, "label")[0]
    total = review.page.locator(".data-table table").get_attribute("aria-rowcount")

    review.page.get_by_role("searchbox").fill(name.upper())
    review.page.wait_for_url(re.compile("q="))

    found = column(review, "label")
    assert found
    assert all(name.lower() in each.lower() for each in found)
    count = int(review.page.locator(".data-table table").get_attribute("aria-rowcount"))
    assert count == len(found) + 1 < int(total)
    assert f"{len(found)} of " in review.page.locator(".data-table output").inner_text()


def test_a_search_for_nothing_says_so_and_goes_back(review):
    box = review.page.get_by_role("searchbox")
    before = rows(review)

    box.fill("no such label")
    review.page.wait_for_url(re.compile("q=no"))
    assert rows(review) == []
    box.fill("")
    review.page.wait_for_url(re.compile(r"^[^&]*$"))

    assert rows(review) == before


def test_a_slash_searches_and_escape_leaves(review):
    page = review.page

    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"
    assert page.get_by_role("searchbox").input_value() == ""
    page.keyboard.type("a/b")
    assert page.get_by_role("searchbox").input_value() == "a/b"
    page.keyboard.press("Escape")

    assert page.evaluate("document.activeElement.type ?? ''") != "search"


def test_arrows_walk_the_rows_and_enter_opens_one(review):
    page = review.page
    page.locator(".data-table tbody tr[tabindex='0']").focus()

    def focused() -> int:
        return int(page.evaluate("document.activeElement.getAttribute('aria-rowindex')"))

    assert focused() == 2
    for key, expected in (("ArrowDown", 3), ("ArrowDown", 4), ("ArrowUp", 3), ("Home", 2)):
        page.keyboard.press(key)
        assert focused() == expected, key
    page.keyboard.press("End")
    assert focused() == int(page.locator(".data-table table").get_attribute("aria-rowcount"))
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    name = column(review, "label")[1]
    page.keyboard.press("Enter")
    page.wait_for_url("**/labels/*")

    assert name in page.locator("h1").inner_text()


def test_tab_reaches_everything_and_shows_where_it_is(review):
    page = review.page
    reached, seen = set(), []
    for _ in range(400):
        page.keyboard.press("Tab")
        place = page.evaluate(
            """() => {
                const here = document.activeElement;
                if (here === document.body) return null;
                const style = getComputedStyle(here);
                const seen = style.outlineStyle !== 'none' && style.outlineWidth !== '0px';
                return [[...document.querySelectorAll('*')].indexOf(here), seen];
            }"""
        )
        if place is None or place[0] in reached:
            break
        reached.add(place[0])
        seen.append(place[1])

    wanted = page.locator("a[href], input, select, button, [tabindex='0']").count()
    hidden = page.locator("a[href], input, select, button").evaluate_all(
        "all => all.filter(each => !each.checkVisibility()).length"
    )
    assert len(reached) >= wanted - hidden
    assert all(seen)


def test_the_switch_shows_the_other_form_and_goes_along(review):
    page = review.page
    before = page.locator("h1").inner_text()
    page.get_by_role("link", name="image form").click()
    page.wait_for_url("**form=image**")
    assert "image form" in page.locator("main").inner_text()
    assert page.locator("h1").inner_text() != before

    page.locator(".data-table tbody a").first.click()
    page.wait_for_url("**/labels/**")
    assert "form=image" in page.url


def test_a_command_is_copied(review):
    page = review.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    page.locator("[data-copy]").first.click()

    copied = page.evaluate("navigator.clipboard.readText()")
    assert re.match(r"manylabel \w+", copied)
