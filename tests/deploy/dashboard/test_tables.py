"""Tables by their address: order, search, filters, files."""

import csv
import io
import json

import numpy as np
import pytest

from manylabel.deploy.dashboard.errors import BadAddress
from manylabel.deploy.dashboard.tables import Column, Filter, Table, cells
from manylabel.deploy.dashboard.view import View


@pytest.fixture
def table():
    return Table(
        "labels",
        (
            Column("name", "label", ["Dog", "cat", "<b>", "dogma"], href="/labels/{id}"),
            Column("id", "", [7, 8, 9, 10], "count"),
            Column(
                "gain", "×10⁻⁴", np.array([1e-4, np.nan, -3e-4, 2e-4]), "contribution", bar=True
            ),
            Column("shown", "", np.array([True, False, True, False])),
            Column("band", "", ["head", "tail", "tail", "head"]),
        ),
        order="-gain",
        caption="Labels",
        noun="labels",
        magnitude=("gain",),
        search=("name",),
        filters=(
            Filter("shown", "shown", (("true", "shown"),)),
            Filter("band", "band", (("head", "head"), ("tail", "tail"))),
        ),
    )


def names(table, **parameters):
    rows = table.rows(View("/review", parameters))
    return [table.column("name").values[row] for row in rows]


def test_numbers_sort_by_size_and_what_is_not_there_comes_last(table):
    assert names(table) == ["<b>", "dogma", "Dog", "cat"]
    assert names(table, sort="gain") == ["Dog", "dogma", "<b>", "cat"]


def test_names_sort_as_people_expect(table):
    assert names(table, sort="name") == ["<b>", "cat", "Dog", "dogma"]
    assert names(table, sort="-name") == ["dogma", "Dog", "cat", "<b>"]


def test_search_and_filters_narrow_down(table):
    assert names(table, q="DOG") == ["dogma", "Dog"]
    assert names(table, band="tail") == ["<b>", "cat"]
    assert names(table, shown="true", band="head") == ["Dog"]
    assert names(table, q="nothing like that") == []


def test_wrong_words_are_told(table):
    with pytest.raises(BadAddress, match="sort=weight: expected one of name, gain"):
        names(table, sort="weight")
    with pytest.raises(BadAddress, match="band=middle: expected one of head, tail"):
        names(table, band="middle")


def test_a_second_click_turns_the_order_round(table):
    gain, name = table.column("gain"), table.column("name")
    assert table.next_order(gain, "-gain") == "gain"
    assert table.next_order(gain, "gain") is None  # The default is left out of addresses.
    assert table.next_order(name, "-gain") == "name"
    assert table.next_order(name, "name") == "-name"


def test_cells_have_text_links_and_bars(table):
    dog, gain = cells(table, 0)
    assert (dog.text, dog.href, dog.css) == ("Dog", "/labels/7", "")
    assert (gain.text, gain.css) == ("+1.00", "number")
    assert 'width="40"' in str(gain.bar)
    assert "bar gain" in str(gain.bar)
    nothing = cells(table, 1)[1]
    assert (nothing.text, nothing.bar, nothing.has_bar) == ("–", None, True)


def test_tones_become_classes():
    table = Table(
        "t",
        (Column("d", "d", [0.1, 0.2], "difference", tone="tone"), Column("tone", "", ["gain", ""])),
        order="d",
        caption="",
        noun="",
    )
    assert [cells(table, row)[0].css for row in range(2)] == ["number gain", "number"]


def test_a_link_cannot_be_broken_by_a_name():
    pattern = Column("run", "run", ["a/../b?x"], href="/runs/{run}")
    table = Table("t", (pattern,), order="run", caption="", noun="")
    assert cells(table, 0)[0].href == "/runs/a%2F..%2Fb%3Fx"


def test_json_has_every_row_and_null_for_nothing(table):
    data = json.loads(
        json.dumps(table.as_json(), default=lambda value: value.item(), allow_nan=False)
    )
    columns = {column["key"]: column for column in data["columns"]}
    assert columns["gain"]["values"] == [1e-4, None, -3e-4, 2e-4]
    assert columns["shown"]["values"] == [True, False, True, False]
    assert data["rows"] == 4
    assert data["magnitude"] == ["gain"]


def test_csv_has_the_rows_of_the_address_with_numbers_in_full(table):
    text = table.as_csv(View("/review", {"band": "head"}))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["name"] for row in rows] == ["dogma", "Dog"]
    assert rows[0]["gain"] == "0.0002"


def test_csv_has_text_that_is_no_formula_and_numbers_that_are():
    columns = (
        Column("name", "label", ["=1+1", "@x", "-2", "a\rb", 'say "x", y', None]),
        Column("gain", "gain", [-1.5, 2.0, None, -4.0, 5.0, 6.0], "map"),
    )
    table = Table("t", columns, order="gain", caption="", noun="")
    text = table.as_csv(View("/"))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {row["gain"]: row["name"] for row in rows} == {
        "-1.5": "'=1+1",
        "2.0": "'@x",
        "": "'-2",
        "-4.0": "a\rb",
        "5.0": 'say "x", y',
        "6.0": "",
    }


def test_a_column_says_what_an_absent_value_means():
    column = Column("q", "q", [np.nan, 0.5], "probability", absent="too few")
    table = Table("t", (column,), order="q", caption="", noun="")
    assert cells(table, 0)[0].text == "too few"
    assert cells(table, 1)[0].text != "too few"
    assert table.as_json()["columns"][0]["absent"] == "too few"
