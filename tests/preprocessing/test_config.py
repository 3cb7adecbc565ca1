"""Settings that contradict themselves are errors that name the setting."""

import pytest
from pydantic import ValidationError

from manylabel.preprocessing.config import PreprocessingConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "catalog"),
        ({"catalog": {"path": ""}}, "at least 1 character"),
        ({"catalog": {"path": "x", "fromat": "csv"}}, "fromat"),
        ({"catalog": {"path": "x", "format": "json"}}, "'auto', 'csv', 'parquet' or 'folder'"),
        (
            {"catalog": {"path": "x", "format": "folder", "group_column": "g"}},
            "catalog.format is folder, which has no group_column",
        ),
        ({"heldout": {"size": 1.5}}, "heldout.size is 1.5: give a fraction below 1 or a whole"),
        ({"heldout": {"size": 1.0}}, "heldout.size is 1.0"),
        ({"heldout": {"size": -1}}, "greater than or equal to 0"),
        ({"heldout": {"size": float("inf")}}, "finite"),
        ({"heldout": {"minimum_labels": 0}}, "greater than or equal to 1"),
        ({"images": {"jpeg_quality": 100}}, "less than or equal to 95"),
        ({"images": {"max_pixels": 200_000_000}}, "less than or equal to 178956970"),
        ({"runner": {"processes": 0}}, "greater than or equal to 1"),
    ],
)
def test_wrong_settings(settings, message):
    if settings:
        settings = {"catalog": {"path": "labels.csv"}} | settings
    with pytest.raises(ValidationError, match=message):
        PreprocessingConfig.model_validate(settings)


@pytest.mark.parametrize("size", [0, 0.0, 0.25, 1, 500])
def test_held_out_sizes(size):
    config = PreprocessingConfig.model_validate(
        {"catalog": {"path": "labels.csv"}, "heldout": {"size": size}}
    )
    assert config.heldout.size == size


def test_settings_are_frozen():
    config = PreprocessingConfig.model_validate({"catalog": {"path": "labels.csv"}})
    with pytest.raises(ValidationError, match="frozen"):
        config.catalog.path = "other.csv"  # type: ignore[misc]
