"""What makes another dataset, and what does not."""

import hashlib
import json

import PIL
import pytest

from manylabel.preprocessing.catalogs import CatalogDigest
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.fingerprint import compute_fingerprint

CATALOG = CatalogDigest("1", {})
OTHER = CatalogDigest("2", {})


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


def test_how_pictures_are_fetched_changes_nothing():
    one, other = ({"http": {"deadline": seconds}} for seconds in (1, 2))
    assert fingerprint(catalog=one) == fingerprint(catalog=other)
    held_out = (
        fingerprint(heldout={"catalog": {"path": "held.csv"} | each}) for each in (one, other)
    )
    assert len(set(held_out)) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"catalog": {"label_column": "name"}},
        {"catalog": {"confidence_column": None}},
        {"catalog": {"group_column": "author"}},
        {"catalog": {"split_column": "part", "split": "train"}},
        {"catalog": {"http": {}}},
        {"heldout": {"catalog": {"path": "labels.csv"}}},
        {"images": {"jpeg_quality": 50}},
        {"images": {"resampling": "area"}},
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


def test_a_held_out_catalog_counts_by_what_it_lists_and_not_by_where_it_lies():
    def of(digest, **catalog):
        settings = {
            "catalog": {"path": "labels.csv"},
            "heldout": {"catalog": {"path": "test.csv"} | catalog},
        }
        return compute_fingerprint(PreprocessingConfig.model_validate(settings), CATALOG, digest)

    assert of(OTHER) == of(OTHER, path="elsewhere/test.csv", image_root="pictures")
    assert len({of(OTHER), of(CATALOG), of(OTHER, label_column="name")}) == 3


@pytest.mark.parametrize(
    ("format_", "places"),
    [("open_images", {"class_descriptions": "classes.csv"}), ("ml_images", {"dictionary": "d"})],
)
def test_a_section_that_says_nothing_new_is_as_none(format_, places):
    """What lies at its places counts as part of the catalog."""
    plain = fingerprint(catalog={"format": format_})
    assert fingerprint(catalog={"format": format_, format_: {}}) == plain
    assert fingerprint(catalog={"format": format_, format_: places}) == plain


def test_how_an_image_of_open_images_is_named_makes_another_dataset():
    named = {"format": "open_images", "open_images": {"image_name": "a/{id}.jpg"}}
    assert fingerprint(catalog=named) != fingerprint(catalog={"format": "open_images"})


def test_settings_that_say_nothing_new_have_the_number_that_datasets_already_bear():
    """Else every dataset there is would be one of other input."""
    settings = {
        "catalog": {
            "format": "auto",
            "image_column": "image_path",
            "label_column": "label",
            "confidence_column": "confidence",
            "group_column": None,
        },
        "images": {
            "short_side_limit": 320,
            "jpeg_quality": 90,
            "max_pixels": 50_000_000,
            "max_bytes": 50_000_000,
            "min_side": 8,
            "max_aspect_ratio": 8.0,
        },
        "labels": {"minimum_count": 1},
        "heldout": {
            "size": 0.1,
            "minimum_labels": 1,
            "duplicate_distance": 2,
            "largest_group": 1000,
            "salt": "manylabel",
        },
        "shards": {"bytes_per_shard": 128 << 20, "images_per_shard": None},
    }
    parts = {"format": 2, "settings": settings, "catalog": "1", "pillow": PIL.__version__}
    text = json.dumps(parts, sort_keys=True)
    assert fingerprint() == hashlib.sha256(text.encode()).hexdigest()
