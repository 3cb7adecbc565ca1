"""schedules.yaml: what it may say, and one clear line for each thing that is wrong."""

import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import pytest
import yaml

from manylabel.eval.errors import EvaluationError
from manylabel.eval.schedule.cluster import EvaluationCluster
from manylabel.eval.schedule.config import (
    CatchUp,
    Overlap,
    ScheduleConfig,
    Schedules,
    Steps,
    read_schedules,
)
from manylabel.eval.schedule.records import FireRecord


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "schedules.yaml").write_text(text)
        return read_schedules(tmp_path)

    return read


def test_the_settings_of_the_design(read):
    settings = read(
        """
        interval: 90s
        schedules:
          nightly: {when: "0  2 * * *", timezone: Europe/Paris, runs: "*", steps: best,
                    overlap: queue, catch_up: none, deadline: 1h30m, retries: 2,
                    on_failure: "mail -s 'not evaluated' me@example.org",
                    on_worse: [notify, worse], overrides: [eval.weights.kind=uniform]}
          every: {when: new_checkpoint, at_least_every: 2000}
        """
    )
    assert settings.interval == timedelta(seconds=90)
    nightly, every = settings.schedules["nightly"], settings.schedules["every"]
    assert nightly.when == "0 2 * * *"
    assert str(nightly.zone) == "Europe/Paris"
    assert (nightly.steps, nightly.overlap, nightly.catch_up) == (
        Steps.BEST,
        Overlap.QUEUE,
        CatchUp.NONE,
    )
    assert nightly.deadline == timedelta(hours=1, minutes=30)
    assert nightly.on_failure == ("mail", "-s", "not evaluated", "me@example.org")
    assert nightly.on_worse == ("notify", "worse")
    assert nightly.is_cron
    assert (every.is_cron, every.at_least_every) == (False, 2000)


def test_a_new_checkpoint_is_made_up_for_and_a_time_only_once(read):
    text = "schedules: {a: {when: new_checkpoint%s}, b: {when: '* * * * *'}}"
    settings = read(text % "").schedules
    assert [settings[name].catch_up for name in "ab"] == [CatchUp.ALL, CatchUp.LATEST]
    assert read(text % ", catch_up: latest").schedules["a"].catch_up is CatchUp.LATEST


CRON = {"when": "0 2 * * *"}
NEW = {"when": "new_checkpoint"}


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        (CRON | {"overlp": "skip"}, "a.overlp: unknown setting; did you mean overlap?"),
        (CRON | {"overlap": "skp"}, "a.overlap: expected 'skip' or 'queue', received 'skp'"),
        ({"when": "0 2 * *"}, "a.when: expected new_checkpoint or a cron line such as"),
        ({"when": "0 0 2 * * *"}, "a.when: expected new_checkpoint or a cron line such as"),
        ({"when": "@daily"}, "received '@daily'"),
        ({"when": "0 25 * * *"}, "received '0 25 * * *': Bad hour"),
        ({"when": "0 0 30 2 *"}, "received '0 0 30 2 *': Bad day-of-month"),
        ({"when": 3}, "a.when: expected a valid string, received 3"),
        ({"runs": "*"}, 'a: expected when: new_checkpoint, or e.g. "0 2 * * *", received none'),
        (CRON | {"timezone": "Europe/Pari"}, "received 'Europe/Pari'; did you mean Europe/Paris"),
        (CRON | {"timezone": "../etc"}, "a.timezone: expected a time zone such as Europe/Paris"),
        (CRON | {"deadline": 6}, "a.deadline: expected a duration such as 6h"),
        (CRON | {"deadline": "6 hours"}, "received '6 hours'"),
        (CRON | {"deadline": "0h"}, "received '0h'"),
        (
            CRON | {"deadline": "99999999999999d"},
            "a.deadline: expected a duration of at most 36500d",
        ),
        (CRON | {"deadline": "36501d"}, "a.deadline: expected a duration of at most 36500d"),
        (
            CRON | {"deadline": "9" * 5000 + "d"},
            "a.deadline: expected a duration of at most 36500d",
        ),
        (CRON | {"on_failure": ["a\0b"]}, "a.on_failure: expected a command, received ['a\\x00b']"),
        (CRON | {"on_worse": "a \0"}, "a.on_worse: expected a command, received 'a \\x00'"),
        (CRON | {"retries": 11}, "a.retries: expected less than or equal to 10, received 11"),
        (CRON | {"on_worse": "a 'b"}, 'received "a \'b": No closing quotation'),
        (CRON | {"on_worse": ""}, "a.on_worse: expected a command, received ''; leave it out"),
        (CRON | {"on_failure": 3}, "a.on_failure: expected a valid tuple, received 3"),
        (CRON | {"on_failure": []}, "a.on_failure: expected a command, received []"),
        (CRON | {"overrides": ["trainer.epochs=1"]}, "expected eval.key=value, received 'trainer."),
        (CRON | {"overrides": ["eval.k"]}, "expected eval.key=value, received 'eval.k'"),
        (CRON | {"overrides": ["eval.kk=1"]}, "kk is no setting of eval, received 'eval.kk=1'"),
        (CRON | {"at_least_every": 9}, "at_least_every=9 is used with when: new_checkpoint only"),
        (NEW | {"deadline": "1h"}, "deadline is used with a cron line only, received when: new_"),
        (NEW | {"timezone": "UTC"}, "timezone is used with a cron line only"),
        (NEW | {"steps": "all"}, "steps is used with a cron line only"),
        (NEW | {"overlap": "skip"}, "overlap is used with a cron line only"),
        (NEW | {"catch_up": "none"}, "use latest or all"),
        (NEW | {"at_least_every": 0}, "a.at_least_every: expected greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(read, schedule, problem):
    with pytest.raises(EvaluationError, match=re.escape(problem)) as caught:
        read(yaml.safe_dump({"schedules": {"a": schedule}}))
    (line,) = str(caught.value).splitlines()
    assert "schedules.yaml: schedules.a" in line


@pytest.mark.parametrize("name", ["a b", "a/b", "../a", ".a", "-a", "ä", "a" * 65, ""])
def test_names_become_files(read, name):
    with pytest.raises(EvaluationError, match="expected a name of letters, digits"):
        read(yaml.safe_dump({"schedules": {name: CRON}}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected the section schedules, received None; write it, e.g. schedules:"),
        ("- a", "expected the section schedules"),
        ("schedules: [", "not valid YAML in line"),
        ("schedules: {}\nschedules: {}", "line 2: schedules is set twice"),
        ("schedule: {}", "schedule: unknown setting; did you mean schedules?"),
        ("schedules: {}\ninterval: 5", "interval: expected a duration such as 6h"),
        ("schedules: {}\naddress: head:8265", "address: expected the address of a Ray cluster's"),
        (
            "schedules: {}\naddress: http://head:port",
            "as http://HEAD:8265, received 'http://head:p",
        ),
        ("schedules: {}\naddress: http://me:key@head", "address: expected the address of a Ray"),
        (
            "schedules: {}\ntrust_open: head",
            "trust_open=head names the host of address, received no",
        ),
        (
            "schedules: {}\naddress: http://a:8265\ntrust_open: b",
            "trust_open=b names the host of address, received address http://a:8265; write a",
        ),
        (
            "schedules: {}\ninterval: 99999999999999d",
            "yaml: interval: expected a duration of at most",
        ),
        ("schedules: {? [a] : 1}", "schedules.yaml: line 1: expected a name as a key"),
        ("interval: 5s", "schedules: expected a value, received none"),
    ],
)
def test_a_file_that_says_nothing_of_schedules(read, text, problem):
    with pytest.raises(EvaluationError, match=re.escape(problem)):
        read(text)


def test_no_file_is_told_with_an_example(tmp_path):
    with pytest.raises(EvaluationError, match="found none; write them") as caught:
        read_schedules(tmp_path)
    example = str(caught.value).partition("e.g. ")[2]
    (tmp_path / "schedules.yaml").write_text(example)
    assert list(read_schedules(tmp_path).schedules) == ["nightly"]


PAGE = (Path(__file__).resolve().parents[3] / "docs" / "schedule.md").read_text("utf-8")


def test_the_example_of_the_page_is_valid(read):
    example, cron_job, cluster = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert yaml.safe_load(cron_job)["spec"]["concurrencyPolicy"] == "Forbid"
    assert list(read(example).schedules) == ["nightly", "every"]
    assert read(example).cluster is None
    assert read(cluster).cluster == EvaluationCluster("http://head.example.org:8265")


def test_the_page_has_every_setting_and_every_field():
    rows = re.findall(r"^\| (`[^|]*) \|", PAGE, flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    assert named >= ScheduleConfig.model_fields.keys() | FireRecord.model_fields.keys() - {
        "retry_at"
    }
    told = set(re.findall(r"`(\w+):?[^`]*`", PAGE))
    assert told >= Schedules.model_fields.keys() - {"schedules"}
    for name, field in ScheduleConfig.model_fields.items():
        if isinstance(field.default, StrEnum | int):
            assert re.search(rf"^\| `{name}` \| `?{field.default}`? \|", PAGE, re.MULTILINE), name
