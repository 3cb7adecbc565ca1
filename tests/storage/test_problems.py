"""Values as errors repeat them."""

from manylabel.storage.problems import shown


def test_a_value_is_shown_as_python_writes_it():
    for value in (3, "a", [], [1, "b", [None]], ["x"] * 5, [{"a": 1, "b": [2]}], [(1, 2)]):
        assert shown(value) == repr(value)


def test_no_more_of_a_value_is_written_than_is_shown():
    """All of it would take 9 to the power of 40 signs, or never end."""
    value: list[object] = ["ha"]
    for _ in range(40):
        value = [value] * 9
    assert shown(value) == "[" * 41 + "'ha'], ['ha'], ['h…"
    value[0] = value
    assert len(shown(value)) == 60
