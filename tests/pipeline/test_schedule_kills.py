"""run-due, killed before each thing that it does to a file, and run again: the same end."""

import datetime
import json
import os
import signal
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from manylabel.eval.schedule.records import Outcome
from manylabel.eval.statistics.differences import Verdict
from manylabel.pipeline import schedule_runs
from manylabel.pipeline.schedule import run_due
from manylabel.pipeline.schedule_fire import Surroundings
from manylabel.storage.atomic import create
from manylabel.storage.pins import read_pins
from manylabel.trainer.runs.checkpoint import CheckpointInfo
from tests.pipeline._forks import forks_of_a_small_process

pytestmark = pytest.mark.slow

SETTINGS = """
schedules:
  nightly: {when: "0 2 * * *", retries: 1}
  every: {when: new_checkpoint, retries: 1, overrides: [eval.k=3], on_worse: "true"}
"""
SEEN = datetime.datetime(2026, 5, 3, 12, tzinfo=datetime.UTC)
NOW = SEEN + datetime.timedelta(hours=15)
CHANGES = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.truncate", "os.utime")


def checkpoints(run, on_damaged=None):
    return [CheckpointInfo(step, 0, run, f"d{step}", "d") for step in (0, 100)]


def surroundings(root, now, host):
    def evaluate(run, step, overrides):
        path = root / "evaluated" / f"{step}{''.join(overrides)}"
        create(path, now.isoformat().encode())
        made_at = datetime.datetime.fromisoformat(path.read_text())
        provenance = SimpleNamespace(step=int(step), evaluated_at=made_at)
        return [SimpleNamespace(provenance=provenance, settings="uniform-0")]

    return Surroundings(evaluate, lambda *evaluation: Verdict.WORSE, lambda: now, host)


def look(root, now=NOW, host="here", kill_at=None):
    """One call of run-due, which kills itself before it changes its `kill_at`-th file."""
    left = kill_at

    def on_change(event, arguments):
        nonlocal left
        if left is None or event not in CHANGES or str(root) not in str(arguments):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    if kill_at is not None:
        sys.addaudithook(on_change)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule_runs, "list_checkpoints", checkpoints)
        patch.setattr(schedule_runs, "_evaluated", lambda run, checkpoints, overrides: set())
        run_due(root, lambda event: None, surroundings(root, now, host))


def looked(*arguments):
    process = forks_of_a_small_process().Process(target=look, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode


def prepare(root):
    root.mkdir()
    (root / "schedules.yaml").write_text(SETTINGS)
    (root / "r").mkdir()
    (root / "r" / "run.json").touch()
    return root


def end_of(root):
    """What there is in the end: the last attempts, what was evaluated, what is held."""
    fires: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted((root / "schedule" / "fires").glob("*/*.json")):
        record = json.loads(path.read_text())
        name = record["schedule"], record["key"]
        if name not in fires or fires[name]["attempt"] < record["attempt"]:
            fires[name] = record
    ends = {
        name: (
            fire["outcome"],
            fire["coalesced"],
            fire["error"],
            fire["commands"],
            [(each["step"], each["new"], each["verdict"]) for each in fire["evaluations"]],
        )
        for name, fire in fires.items()
    }
    evaluated = {path.name for path in (root / "evaluated").iterdir() if path.suffix != ".tmp"}
    return ends, evaluated, read_pins(root / "r")


@pytest.mark.parametrize(
    ("host", "minutes", "every"), [("here", 0, 1), ("there", 6, 5)], ids=["same host", "another"]
)
@pytest.mark.parametrize("killed_look", [0, 1], ids=["checkpoints", "a time"])
def test_whenever_it_is_killed_the_end_is_the_same(tmp_path, killed_look, host, minutes, every):
    looks = [SEEN, NOW]  # Two checkpoints are new; then the time of the cron line has come.
    undisturbed = prepare(tmp_path / "undisturbed")
    assert [looked(undisturbed, now) for now in looks] == [0, 0]
    ends, evaluated, pins = expected = end_of(undisturbed)
    assert [end[0] for end in ends.values()] == [Outcome.DONE] * 3
    assert evaluated == {"0eval.k=3", "100eval.k=3", "100"}
    assert pins.after == 100

    kills, killed = 0, True
    while killed:
        root = prepare(tmp_path / str(kills))
        for number, now in enumerate(looks):
            if number == killed_look:
                killed = looked(root, now, "here", kills) != 0
                now += datetime.timedelta(minutes=minutes)
            assert looked(root, now, host) == 0
        assert end_of(root) == expected, f"killed before change {kills}"
        kills += every
    assert kills > 20, "each is a moment"
