"""Settings that contradict themselves are errors that name the setting."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.http_config import HttpConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "catalog"),
        ({"catalog": {"path": ""}}, "at least 1 character"),
        ({"catalog": {"path": "x", "fromat": "csv"}}, "fromat"),
        (
            {"catalog": {"path": "x", "format": "json"}},
            "'auto', 'csv', .* or '",
        ),
        (
            {"catalog": {"path": "x", "format": "folder", "group_column": "g"}},
            "catalog.format is folder, which has no group_column",
        ),
        (
            {"catalog": {"path": "x", "format": "folder", "split_column": "s", "split": "t"}},
            "catalog.format is folder, which has no split_column",
        ),
        (
            {"catalog": {"path": "x", "format": "folder", "label_separator": "|"}},
            "catalog.format is folder, which has no label_separator",
        ),
        (
            {"catalog": {"path": "x", "format": "folder", "label_columns": ["*"]}},
            "catalog.format is folder, which has no label_columns",
        ),
        (
            {"catalog": {"path": "x", "format": "folder", "null_values": ["-1"]}},
            "catalog.format is folder, which has no null_values",
        ),
        (
            {"catalog": {"path": "x", "label_columns": ["*"], "label_separator": "|"}},
            "catalog.label_columns is given, but so is label_separator",
        ),
        (
            {"catalog": {"path": "x", "label_columns": ["*"], "label_column": "tags"}},
            "catalog.label_columns is given, but so is label_column",
        ),
        (
            {"heldout": {"catalog": {"path": "x", "label_columns": "*", "confidence_column": "c"}}},
            "heldout.catalog.label_columns is given, but so is confidence_column",
        ),
        (
            {"catalog": {"path": "x", "label_zeros": "absent"}},
            "catalog.label_zeros is absent, which is for label_columns: set both",
        ),
        (
            {"catalog": {"path": "x", "label_cells": "names"}},
            "catalog.label_cells is names, which is for label_columns: set both",
        ),
        (
            {
                "catalog": {
                    "path": "x",
                    "label_columns": "*",
                    "label_cells": "names",
                    "label_zeros": "absent",
                }
            },
            "catalog.label_zeros is absent, but label_cells says that cells are names",
        ),
        (
            {"catalog": {"path": "x", "label_columns": "*", "header": False}},
            "catalog.label_columns are labels by their names, but header is false: put a line",
        ),
        ({"catalog": {"path": "x", "label_separator": ""}}, "at least 1 character"),
        ({"catalog": {"path": "x", "null_values": [None]}}, "valid string"),
        (
            {"catalog": {"path": "x", "split_column": "part"}},
            "catalog.split_column is 'part', which needs split: set both",
        ),
        (
            {"heldout": {"catalog": {"path": "x", "split": "test"}}},
            "heldout.catalog.split is 'test', which needs split_column: set both",
        ),
        (
            {"heldout": {"catalog": {"path": "x"}, "size": 500}},
            "heldout.size is 500, which chooses among the images of the training catalog, but "
            "heldout.catalog says which are held out: remove one of them",
        ),
        ({"heldout": {"catalog": {"path": "x"}, "largest_group": 7}}, "heldout.largest_group is 7"),
        ({"heldout": {"catalog": {"path": "x"}, "salt": "y"}}, "heldout.salt is 'y'"),
        (
            {"catalog": {"path": "x", "format": "webdataset", "label_columns": "*"}},
            "catalog.format is webdataset, which has no label_columns: remove it",
        ),
        (
            {"catalog": {"path": "x", "webdataset": {"labels": "txt", "label_key": "x"}}},
            "catalog.webdataset.label_key is 'x', which is for JSON, but catalog.webdataset.labels",
        ),
        ({"heldout": {"catalog": {"size": 1}}}, "path"),
        ({"heldout": {"size": 1.5}}, "heldout.size is 1.5: give a fraction below 1 or a whole"),
        ({"heldout": {"size": 1.0}}, "heldout.size is 1.0"),
        ({"heldout": {"size": -1}}, "greater than or equal to 0"),
        ({"heldout": {"size": float("inf")}}, "finite"),
        ({"heldout": {"minimum_labels": 0}}, "greater than or equal to 1"),
        ({"images": {"jpeg_quality": 100}}, "less than or equal to 95"),
        ({"images": {"max_pixels": 200_000_000}}, "less than or equal to 178956970"),
        ({"runner": {"processes": 0}}, "greater than or equal to 1"),
        ({"heldout": {"largest_group": 0}}, "greater than or equal to 1"),
        ({"shards": {"bytes_per_shard": 0}}, "greater than or equal to 1"),
        ({"executor": "beam"}, "'inline', 'processes' or 'ray'"),
        (
            {"executor": "ray", "runner": {"processes": 2}},
            "runner.processes is given, which is for the executor processes, but executor is ray: "
            "set executor to processes, or remove runner.processes",
        ),
        ({"runner": {"address": "auto"}}, "set executor to ray, or remove runner.address"),
        ({"runner": {"options": ["--streaming"]}}, "set executor to inline, or remove runner.opt"),
        (
            {"executor": "inline", "runner": {"options": ["--streaming"], "scratch": "/tmp"}},
            "runner.scratch is for the job's own process, but runner.options name another runner",
        ),
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


def test_texts_of_a_catalog_may_be_numbers_and_one_needs_no_brackets():
    catalog = {"path": "x", "label_columns": "*", "null_values": [-1, "NA", 0.5]}
    config = PreprocessingConfig.model_validate({"catalog": catalog})
    assert config.catalog.label_columns == ("*",)
    assert config.catalog.null_values == ("-1", "NA", "0.5")
    none = PreprocessingConfig.model_validate({"catalog": catalog | {"confidence_column": None}})
    assert none.catalog.confidence_column is None
    tab = PreprocessingConfig.model_validate({"catalog": {"path": "x", "label_separator": r"\t"}})
    assert tab.catalog.label_separator == "\t"
    again = PreprocessingConfig.model_validate(config.model_dump(mode="json"))
    assert again == config


def test_settings_are_frozen():
    config = PreprocessingConfig.model_validate({"catalog": {"path": "labels.csv"}})
    with pytest.raises(ValidationError, match="frozen"):
        config.catalog.path = "other.csv"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("executor", "runner"),
    [
        ("inline", {"options": ["--runner=FlinkRunner"]}),
        ("inline", {"scratch": "/tmp"}),
        ("processes", {"processes": 3}),
        ("ray", {"address": "auto"}),
        ("ray", {"cpus": 0.5, "memory": 0}),
        ("ray", {}),
    ],
)
def test_runners_that_fit_their_executor(executor, runner):
    settings = {"catalog": {"path": "labels.csv"}, "executor": executor, "runner": runner}
    config = PreprocessingConfig.model_validate(settings)
    assert config.runner.model_dump(exclude_unset=True) == {
        name: tuple(value) if name == "options" else value for name, value in runner.items()
    }


def fields_of(model, prefix=""):
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def test_the_page_has_every_setting_with_its_default():
    page = (Path(__file__).parents[2] / "docs" / "preprocessing.md").read_text("utf-8")
    section = re.split("^## ", page, flags=re.MULTILINE)
    (table,) = (text for text in section if text.startswith("Settings"))
    told = dict(re.findall(r"^\| `([a-z_.]+)` \| (?:`(.+?)` )?\|", table, flags=re.MULTILINE))
    fields = dict(fields_of(PreprocessingConfig))
    assert list(told) == list(fields)
    for name, default in told.items():
        expected = None if fields[name].is_required() else fields[name].default
        received = yaml.safe_load(default) if default else None
        assert (tuple(received) if isinstance(received, list) else received) == expected, name


def test_the_page_of_catalogs_has_every_setting_of_http_with_its_default():
    page = (Path(__file__).parents[2] / "docs" / "catalogs.md").read_text("utf-8")
    (section,) = (
        text for text in re.split("^## ", page, flags=re.M) if "Pictures by URL\n" in text
    )
    told = dict(re.findall(r"^\| `([a-z_]+)` \| `(.+?)` \|", section, flags=re.MULTILINE))
    defaults = HttpConfig().model_dump(mode="json")
    assert {name: yaml.safe_load(default) for name, default in told.items()} == defaults
    assert list(told) == list(defaults)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"http": {}, "image_root": "a"}, "catalog.image_root is 'a', but catalog.http says"),
        ({"http": {}, "format": "folder"}, "catalog.format is folder, which has no http"),
        ({"http": {"deadline": 0}}, "greater than 0"),
        ({"http": {"attempts": 0}}, "greater than or equal to 1"),
        ({"http": {"allowed_networks": ["10.0.0.1/8"]}}, "value is not a valid IPv4 or IPv6"),
        ({"http": {"user_agent": "a\r\nCookie: b"}}, "should match pattern"),
        ({"http": {"timeout": 3}}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_of_http(settings, message):
    with pytest.raises(ValidationError, match=message):
        PreprocessingConfig.model_validate({"catalog": {"path": "urls.csv"} | settings})
