"""Addresses: all of a page's state, readable, defaults left out."""

import pytest

from manylabel.deploy.dashboard.errors import BadAddress
from manylabel.deploy.dashboard.view import View
from manylabel.eval.config import MetricForm


def test_defaults_are_left_out_and_come_back_as_values():
    view = View("/runs/a", {"form": "class"}).with_defaults(form="class", sort="-step")
    assert view.url() == "/runs/a"
    assert view.text("sort") == "-step"
    assert view.url(form="image", sort="step") == "/runs/a?form=image&sort=step"
    assert view.shown() == {}


def test_form_and_settings_go_along_and_nothing_else():
    view = View("/runs/a", {"form": "image", "settings": "uniform-1", "q": "dog"})
    assert view.to("/review", a="b@1") == "/review?form=image&settings=uniform-1&a=b@1"
    assert view.to("/", form=None) == "/?settings=uniform-1"


def test_odd_names_are_quoted_and_plain_ones_readable():
    assert View("/runs/a b%").url(a="x y@3&z") == "/runs/a%20b%25?a=x+y@3%26z"


def test_files_of_a_page():
    assert View("/").export("json") == "/runs.json"
    assert View("/").export("runs.csv") == "/runs.csv"
    assert View("/runs/a", {"form": "image"}).export("json") == "/runs/a.json?form=image"
    assert View("/runs/a").export("map.svg") == "/runs/a/map.svg"


def test_an_unknown_word_is_refused_and_told():
    assert View("/", {"form": "image"}).form is MetricForm.IMAGE
    assert View("/").form is None
    with pytest.raises(BadAddress, match="form=blue: expected one of image, class"):
        _ = View("/", {"form": "blue"}).form
    with pytest.raises(BadAddress, match=r"expected \?a=RUN@STEP"):
        View("/review").required("a", "RUN@STEP")
