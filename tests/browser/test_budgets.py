"""What a page may weigh, on a small store of the kind that the benchmark of the budgets fills."""

import pytest

from benchmarks._dashboard import serving
from benchmarks._generated_store import SMALL, generate
from benchmarks.dashboard_budgets import HTML_BYTES, NODES, addresses


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """The folder of runs."""
    return generate(tmp_path_factory.mktemp("generated"), SMALL, processes=1)


@pytest.fixture(scope="module")
def generated_served(generated):
    with serving(generated) as dashboard:
        yield dashboard


@pytest.mark.parametrize("name", ["Runs", "Run", "Review", "Label", "Image"])
def test_a_page_is_light(browser, generated, generated_served, name):
    path = addresses(generated, SMALL)[name]
    context = browser.new_context()
    page = context.new_page()

    answer = page.goto(generated_served.url + path, wait_until="networkidle")

    assert answer.status == 200
    assert page.locator(".problems").count() == 0
    assert len(answer.body()) <= HTML_BYTES
    assert page.evaluate("document.querySelectorAll('*').length") <= NODES
    context.close()
