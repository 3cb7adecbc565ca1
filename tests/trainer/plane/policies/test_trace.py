"""A trace read back says what was decided; another policy decides otherwise on it."""

import json
import os
from pathlib import Path

import pytest

from manylabel.trainer.plane.policies.config import Asynchronous, StalenessBound, Synchronous
from manylabel.trainer.plane.policies.events import (
    Admit,
    Asked,
    Event,
    Joined,
    Left,
    Pushed,
    Rejected,
    Stopping,
)
from manylabel.trainer.plane.policies.trace import Recorded, read_trace

EVENTS: list[Event] = [
    Joined("a"),
    Joined("b"),
    Joined("c"),
    Asked("a"),
    Asked("b"),
    Pushed(("a", 0), 3, 0),
    Asked("a"),
    Pushed(("b", 0), 3, 4),
    Rejected(("a", 1)),
    Asked("b"),
    Left("a"),
    Pushed(("b", 1), 4, 8),
    Stopping(),
]
CONFIGS: list[Asynchronous | Synchronous] = [
    Asynchronous(),
    Asynchronous(staleness=StalenessBound(bound=0)),
    Asynchronous(staleness=StalenessBound(bound=0, beyond="drop")),
    Synchronous(),
    Synchronous(backup_workers=1),
]
# Of real runs on Ray, made by tests/integration/test_ray_updates.py.
TRACES = sorted((Path(__file__).parent / "traces").glob("*.jsonl"))


@pytest.mark.parametrize("config", CONFIGS)
def test_a_trace_read_back_is_what_was_told_and_decided(tmp_path, config):
    recorded = Recorded(tmp_path / "updates" / "0.jsonl", config, workers=3, version=3)
    decided = [recorded.on(event) for event in EVENTS]
    policy, steps = read_trace(tmp_path / "updates" / "0.jsonl")
    assert [event for event, _ in steps] == EVENTS
    assert [decisions for _, decisions in steps] == decided
    assert [policy.on(event) for event in EVENTS] == decided


def test_policies_decide_differently_on_the_same_events(tmp_path):
    decided = {
        str([policy.on(event) for event in EVENTS])
        for policy in (config.policy(3, 3) for config in CONFIGS)
    }
    assert len(decided) == len(CONFIGS)


def test_the_trace_of_another_start_from_the_same_step_stands_beside_the_first(tmp_path):
    for count in (1, 2, 3):
        recorded = Recorded(tmp_path / "00001200.jsonl", Synchronous(), workers=3, version=3)
        for event in EVENTS[:count]:
            recorded.on(event)
    names = ["00001200.jsonl", "00001200-1.jsonl", "00001200-2.jsonl"]
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    for count, name in enumerate(names, start=1):
        _, steps = read_trace(tmp_path / name)
        assert [event for event, _ in steps] == EVENTS[:count]


def test_a_last_line_that_was_cut_is_left_out(tmp_path):
    path = tmp_path / "trace.jsonl"
    recorded = Recorded(path, Synchronous(), workers=3, version=3)
    for event in EVENTS:
        recorded.on(event)
    path.write_text(path.read_text()[:-20])
    _, steps = read_trace(path)
    assert [event for event, _ in steps] == EVENTS[:-1]


@pytest.mark.parametrize("text", ["", json.dumps({"format_version": 2}) + "\n"])
def test_what_is_no_trace_is_refused_by_name(tmp_path, text):
    (tmp_path / "trace.jsonl").write_text(text)
    with pytest.raises(ValueError, match=r"trace\.jsonl: expected a trace .* version 1"):
        read_trace(tmp_path / "trace.jsonl")


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_a_policy_driven_by_a_real_runs_trace_decides_as_it_did(path):
    policy, steps = read_trace(path)
    assert len(steps) > 100
    for number, (event, decisions) in enumerate(steps):
        assert policy.on(event) == decisions, f"{path.name}, event {number}: {event}"


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_another_policy_does_not(path):
    _, steps = read_trace(path)
    head = json.loads(path.read_text().splitlines()[0])
    other = (Asynchronous() if head["updates"]["name"] == "synchronous" else Synchronous()).policy(
        head["workers"], head["version"]
    )
    assert any(other.on(event) != decisions for event, decisions in steps)


def test_there_are_traces_of_real_runs():
    assert {path.stem for path in TRACES} == {"synchronous", "staleness_wait"}


def test_a_full_disk_ends_the_trace_and_no_training(tmp_path):
    policy = Recorded(tmp_path / "0.jsonl", Asynchronous(), workers=1, version=0)
    policy._file = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", buffering=1)
    for _ in range(2):
        assert policy.on(Asked("a")) == [Admit("a")]
