"""Runs: which run deserves a review?"""

from collections.abc import Mapping

from manylabel.deploy.dashboard.page import Page
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.view import View


def page(store: Store, view: View, names: Mapping[str, str]) -> Page:
    return Page("runs.html", "Runs", view, {"runs": store.run_names()})
