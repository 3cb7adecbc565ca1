"""The world of schedules: a recorder in place of evaluations, and a clock that is set.

What is on disk is real. A look at the schedules is one call: what one call leaves behind is all
that the next one knows.
"""

import datetime
from collections import Counter
from types import SimpleNamespace

import pytest

from manylabel.eval.schedule.records import FireRecord
from manylabel.pipeline import schedule_runs
from manylabel.pipeline.schedule import run_due
from manylabel.pipeline.schedule_fire import Surroundings
from manylabel.trainer.runs.checkpoint import CheckpointInfo

TWO = datetime.datetime(2026, 5, 4, 2, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
HOUR = 60 * MINUTE


class World:
    """A root with runs, a clock, and an evaluator that counts."""

    def __init__(self, root, monkeypatch):
        self.root = root
        self.now = TWO - HOUR
        self.host = "here"
        self.told = []
        self.evaluated: Counter[tuple] = Counter()
        self.made_at = {}
        self.trouble = lambda run, step: None  # May raise, or let time pass.
        self.verdicts = {}
        self.reviewed = []
        # Checkpoints are empty folders here: 32 bytes of manifest say nothing about schedules.
        monkeypatch.setattr(schedule_runs, "list_checkpoints", self.checkpoints)
        monkeypatch.setattr(schedule_runs, "_evaluated", lambda run, checkpoints, overrides: set())

    def settings(self, text):
        (self.root / "schedules.yaml").write_text(text)

    def checkpoint(self, run, *steps):
        folder = self.root / run / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        for step in steps:
            (folder / f"{step:08d}").mkdir()
        (self.root / run / "run.json").touch()

    def checkpoints(self, run, on_damaged=None):
        return [
            CheckpointInfo(int(path.name), 0, path, f"{run.name}{path.name}", "d")
            for path in sorted((run / "checkpoints").iterdir())
        ]

    def surroundings(self):
        return Surroundings(self.evaluate, self.review, lambda: self.now, self.host)

    def evaluate(self, run, step, overrides):
        found = [info.step for info in self.checkpoints(run)]
        return [
            self.one(run, each, overrides) for each in (found if step == "all" else [int(step)])
        ]

    def one(self, run, step, overrides):
        self.trouble(run.name, step)
        name = run.name, step, tuple(overrides)
        if name not in self.made_at:
            self.evaluated[name] += 1
            self.made_at[name] = self.now
        provenance = SimpleNamespace(step=step, evaluated_at=self.made_at[name])
        return SimpleNamespace(provenance=provenance, settings="uniform-0")

    def review(self, root, name, settings):
        assert root == self.root
        self.reviewed.append(str(name))
        verdict = self.verdicts.get(str(name))
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def look(self):
        """One call of run-due."""
        return run_due(self.root, self.told.append, self.surroundings())

    def records(self, schedule):
        """All attempts, in the order they were made."""
        paths = (self.root / "schedule" / "fires" / schedule).glob("*.json")
        return sorted(map(FireRecord.read, paths), key=lambda each: (each.started, each.attempt))


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)
