"""What makes another dataset, and what does not."""

import pytest

from manylabel.preprocessing.catalogs import CatalogDigest
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.fingerprint import compute_fingerprint

CATALOG = CatalogDigest("1", {})


def fingerprint(**settings):
    catalog = {"path": "labels.csv"} | settings.pop("catalog", {})
    config = PreprocessingConfig.model_validate({"catalog": catalog} | settings)
    return compute_fingerprint(config, CATALOG)


@pytest.mark.parametrize(
    "settings",
    [
        {"catalog": {"path": "elsewhere/labels.csv"}},
        {"catalog": {"image_root": "pictures"}},
        {"executor": "inline"},
        {"executor": "inline", "runner": {"options": ["--runner=FlinkRunner"]}},
        {"executor": "ray", "runner": {"address": "auto"}},
        {"runner": {"processes": 3, "scratch": "/tmp"}},
    ],
)
def test_where_the_input_lies_and_how_the_job_runs_change_nothing(settings):
    assert fingerprint(**settings) == fingerprint()


@pytest.mark.parametrize(
    "settings",
    [
        {"catalog": {"label_column": "name"}},
        {"catalog": {"confidence_column": None}},
        {"catalog": {"group_column": "author"}},
        {"images": {"jpeg_quality": 50}},
        {"labels": {"minimum_count": 2}},
        {"heldout": {"salt": "x"}},
        {"heldout": {"largest_group": 7}},
        {"shards": {"images_per_shard": 10}},
        {"shards": {"bytes_per_shard": 10}},
    ],
)
def test_other_settings_make_another_dataset(settings):
    assert fingerprint(**settings) != fingerprint()


def test_another_catalog_makes_another_dataset_but_not_what_is_left_out_of_it():
    config = PreprocessingConfig.model_validate({"catalog": {"path": "pictures"}})
    one = compute_fingerprint(config, CATALOG)
    assert compute_fingerprint(config, CatalogDigest("1", {"@eaDir": 3})) == one
    assert compute_fingerprint(config, CatalogDigest("2", {})) != one
