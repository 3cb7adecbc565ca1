"""What every section of settings refuses, one that derives from the base alone."""

import math

import pytest
from pydantic import Field, ValidationError

from manylabel.storage.settings import SettingsSection


class Section(SettingsSection):
    number: float = 1.0
    either: int | float = 1
    count: int | None = None
    counts: tuple[int, ...] = ()
    area: tuple[float, float] | None = None
    switch: bool = False
    switches: tuple[bool, ...] = ()
    mode: str | float = Field("auto")


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, "1e999", ".inf", 10**400])
@pytest.mark.parametrize("name", ["number", "either", "count", "mode"])
def test_no_number_is_infinite_or_none(name, value):
    if name == "mode" and isinstance(value, str):
        assert Section.model_validate({name: value}).mode == value, "it is a text"
        return
    with pytest.raises(ValidationError, match=name):
        Section.model_validate({name: value})


@pytest.mark.parametrize("value", [2**63, -(2**63), 10**30])
@pytest.mark.parametrize("name", ["either", "count", "counts"])
def test_whole_numbers_have_64_bits(name, value):
    given = (1, value) if name == "counts" else value
    with pytest.raises(ValidationError, match=rf"{name}(.|\n)*below 2\*\*63, received {value}"):
        Section.model_validate({name: given})
    assert Section.model_validate({"count": 2**63 - 1}).count == 2**63 - 1


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("name", ["number", "either", "count"])
def test_a_truth_is_no_number(name, value):
    with pytest.raises(ValidationError, match=f"expected a number for {name}, received {value}"):
        Section.model_validate({name: value})
    assert Section.model_validate({"switch": value}).switch is value


@pytest.mark.parametrize("given", [[1, True], (False,), [1.5, [True]]])
@pytest.mark.parametrize("name", ["counts", "area"])
def test_a_truth_in_a_list_is_no_number(name, given):
    with pytest.raises(
        ValidationError, match=f"expected a number for {name}, received (Tru|Fals)e"
    ):
        Section.model_validate({name: given})
    assert Section.model_validate({"switches": [True]}).switches == (True,)


def test_an_unknown_key_is_refused_and_nothing_changes_afterwards():
    with pytest.raises(ValidationError, match="nothing"):
        Section.model_validate({"nothing": 1})
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Section(), "number", 2.0)  # noqa: B010
