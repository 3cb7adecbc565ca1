"""The page of all settings is that of today's models."""

from docs.settings import PAGE, page


def test_the_page_is_current():
    assert PAGE.read_text() == page(), "run python -m docs.settings"


def test_each_setting_is_on_it():
    text = page()
    for row in (
        "| `epochs` | number > 0 | `1.0` |",
        "| `bound` | whole number ≥ 0 | *needed* |",
        "| `deadline` | time such as `90s`, `6h` or `1h30m` | `6h` |",
        "| `head_bias` | `prior` or `zero` or number ≥ -100.0 ≤ 100.0 | `prior` |",
        "### `trainer.updates`, `name: synchronous`",
        "### `schedules.NAME`",
    ):
        assert row in text
