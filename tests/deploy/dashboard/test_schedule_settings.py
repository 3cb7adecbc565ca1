"""Damaged settings of schedules, as the start page tells of them."""

import pytest


@pytest.mark.parametrize("text", ["? [a, b]\n: 1", "[" * 2000, "schedules: {<<: 3}"])
def test_settings_that_are_no_settings_are_a_problem_of_the_page(client, filled, text):
    (filled.root / "schedules.yaml").write_text(text)
    (problem,) = client().get("/runs.json").json()["problems"]
    assert "schedules.yaml: " in problem["text"]
