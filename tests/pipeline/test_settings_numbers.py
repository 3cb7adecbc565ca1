"""Numbers in every setting of every file of settings, found from the models."""

import math
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from manylabel.deploy.kubernetes.config import KubernetesConfig
from manylabel.eval.schedule.config import ScheduleConfig, Schedules
from manylabel.pipeline.config import Settings, load_settings
from manylabel.pipeline.errors import SettingsError
from manylabel.storage.settings import SettingsSection
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.section import TrainerSection


def parts(annotation):
    yield annotation
    for part in get_args(annotation):
        yield from parts(part)


def sections(model):
    """A model and those of its settings, however they are chosen from several."""
    yield model
    for field in model.model_fields.values():
        for part in parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from sections(part)


ALL = sorted(
    {section for model in (Settings, Schedules, KubernetesConfig) for section in sections(model)},
    key=lambda section: section.__qualname__,
)
NEEDED = {ScheduleConfig: {"when": "new_checkpoint"}}  # or nothing else is looked at
NUMBERS = [
    (section, name)
    for section in ALL
    for name, field in section.model_fields.items()
    if {int, float} & set(parts(field.annotation))
]


def test_there_are_many():
    assert len(ALL) > 40
    assert len(NUMBERS) > 100


@pytest.mark.parametrize("section", ALL)
def test_every_section_is_one_that_refuses_them(section):
    assert issubclass(section, SettingsSection)
    assert section.model_config == SettingsSection.model_config


@pytest.mark.parametrize("section", set(sections(TrainerConfig)))
def test_every_section_of_the_trainer_is_one_of_float32(section):
    assert issubclass(section, TrainerSection)


@pytest.mark.parametrize(("section", "name"), NUMBERS)
def test_no_number_is_infinite_or_none(section, name):
    for value in (math.inf, -math.inf, math.nan, "1e999", [math.inf, math.inf]):
        with pytest.raises(ValidationError) as caught:
            section.model_validate({**NEEDED.get(section, {}), name: value})
        assert any(error["loc"][:1] == (name,) for error in caught.value.errors()), value


@pytest.mark.parametrize(
    "value", [".inf", "-.inf", "+.INF", ".nan", "1e999", "1.0e+999", "-1e400", "9" * 400, "yes"]
)
def test_a_file_and_an_override_are_refused_in_a_line(tmp_path, value):
    path = tmp_path / "settings.yaml"
    path.write_text(f"preprocessing: {{catalog: {{path: a.csv}}}}\ntrainer: {{epochs: {value}}}\n")
    with pytest.raises(SettingsError, match=r"epochs|line 2") as caught:
        load_settings(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"epochs|line 1") as caught:
        load_settings("demo", [f"trainer.epochs={value}"])
    assert "\n" not in str(caught.value)


def test_a_merge_key_merges_and_a_section_of_its_own_wins(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(
        "preprocessing:\n"
        "  catalog: &catalog {path: train.csv, label_separator: '|'}\n"
        "  heldout: {catalog: {<<: *catalog, path: heldout.csv}}\n"
    )
    preprocessing = load_settings(str(path)).preprocessing
    heldout = preprocessing.heldout.catalog
    assert heldout is not None
    assert (heldout.path, heldout.label_separator) == ("heldout.csv", "|")
    assert preprocessing.catalog.path == "train.csv"


def test_a_key_that_would_break_the_line_is_shown(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text('"a\\nb\\x1b[31m": 1\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(str(path))
    *_, line = str(caught.value).splitlines()
    assert r"'a\nb\x1b[31m': unknown setting" in line
