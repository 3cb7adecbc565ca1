"""Two hundred ticks of two hosts that look at the same schedules, over both changes of the clock in
Paris, with everything that goes wrong: nothing is missed, nothing is done twice.

Each look is a process of its own, so that a restart is nothing special; two start at once at every
tick. The evaluator is a recorder that, like the real one, evaluates nothing twice. It may fail, be
killed before or after it has evaluated, take hours, or be frozen as a laptop's lid freezes it.
"""

import datetime
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import pytest

from manylabel.eval.schedule.config import read_schedules
from manylabel.eval.schedule.cron import due_times
from manylabel.eval.schedule.records import FireAction, FireRecord, Outcome
from manylabel.pipeline import schedule_fire, schedule_runs
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.schedule import run_due
from manylabel.pipeline.schedule_fire import Surroundings
from manylabel.storage.atomic import create, replace_text
from manylabel.storage.pins import read_pins
from manylabel.trainer.runs.checkpoint import CheckpointInfo
from tests.pipeline._forks import forks_of_a_small_process

pytestmark = pytest.mark.slow

SETTINGS = """
schedules:
  hourly: {when: "15 * * * *", timezone: Europe/Paris, overrides: [eval.k=1], retries: 10}
  stars: {when: "*/20 1-4 * * *", timezone: Europe/Paris, overlap: queue, catch_up: none}
  nightly: {when: "30 2 * * *", timezone: Europe/Paris, overlap: queue, catch_up: all,
            deadline: 2d, steps: all, overrides: [eval.k=2], retries: 10}
  every: {when: new_checkpoint, retries: 5}
  sparse: {when: new_checkpoint, at_least_every: 300, overrides: [eval.k=3], retries: 10}
"""
TICK = datetime.timedelta(minutes=15)
SPRING = datetime.datetime(2026, 3, 28, 14, tzinfo=datetime.UTC)  # The clock changes 11 h later.
AUTUMN = datetime.datetime(2026, 10, 24, 14, tzinfo=datetime.UTC)
TICKS = 100  # Around each.
BROKEN = ("b", 440)  # This checkpoint can never be evaluated.
TROUBLES = ("fail", "killed before", "killed after", "slow", "frozen")


class Recorder:
    """What a look works with, in a process of its own."""

    def __init__(self, root: Path, host: str, trouble: str | None) -> None:
        self._root, self._host, self._trouble = root, host, trouble

    def surroundings(self) -> Surroundings:
        return Surroundings(self.evaluate, lambda *evaluation: None, self.now, self._host)

    def now(self) -> datetime.datetime:
        return datetime.datetime.fromisoformat((self._root / "now").read_text())

    def evaluate(self, run, step, overrides):
        trouble, self._trouble = self._trouble, None
        match trouble:
            case "fail":
                raise CommandError("no room")
            case "killed before":
                os.kill(os.getpid(), signal.SIGKILL)
            case "slow":
                self._park()
                while not (self._root / f"released-{os.getpid()}").exists():
                    time.sleep(0.005)
            case "frozen":
                self._park()
                os.kill(os.getpid(), signal.SIGSTOP)
        found = [info.step for info in schedule_runs.list_checkpoints(run)]
        steps = found if step == "all" else [int(step)]
        summaries = [self._evaluated(run, each, overrides) for each in steps]
        if trouble == "killed after":
            os.kill(os.getpid(), signal.SIGKILL)
        return summaries

    def _park(self) -> None:
        (self._root / f"parked-{os.getpid()}").touch()

    def _evaluated(self, run, step, overrides):
        if (run.name, step) == BROKEN:
            raise CommandError("broken")
        path = self._root / "evaluated" / f"{run.name}-{step}-{','.join(overrides)}"
        if create(path, self.now().isoformat().encode()):
            with (self._root / "made").open("a") as made:
                made.write(f"{path.name}\n")
        made_at = datetime.datetime.fromisoformat(path.read_text())
        provenance = SimpleNamespace(step=step, evaluated_at=made_at)
        return SimpleNamespace(provenance=provenance, settings="uniform-0")


def look(root, host, trouble):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule_runs, "list_checkpoints", checkpoints)
        patch.setattr(schedule_runs, "_evaluated", lambda run, checkpoints, overrides: set())
        patch.setattr(schedule_fire, "HEARTBEAT", datetime.timedelta(milliseconds=3))
        run_due(root, lambda event: None, Recorder(root, host, trouble).surroundings())


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.random = random.Random(7)
        self.is_over = False  # From then on nothing goes wrong.
        self.steps: dict[str, list[int]] = {"a": [], "b": []}
        self.troubles: Counter[str] = Counter()
        self.slow: set[int] = set()  # Processes.
        self.parked: list[tuple[BaseProcess, str, int]] = []  # Until which tick.
        (root / "schedules.yaml").write_text(SETTINGS)

    def train(self) -> None:
        """Every now and then a checkpoint, of which the trainer keeps one, and what is held."""
        for run, steps in self.steps.items():
            if self.random.random() < 0.3:
                step = steps[-1] + self.random.choice([70, 110, 180]) if steps else 0
                if run == "b" and step > BROKEN[1] > steps[-1]:
                    step = BROKEN[1]
                steps.append(step)
                folder = self.root / run / "checkpoints"
                (folder / f"{step:08d}").mkdir(parents=True)
                (self.root / run / "run.json").touch()
                pins = read_pins(self.root / run)
                for old in sorted(folder.iterdir())[:-1]:
                    if not pins.hold(int(old.name)):
                        shutil.rmtree(old)

    def tick(self, tick: int, now: datetime.datetime, hosts: str) -> None:
        replace_text(self.root / "now", now.isoformat())
        self.release(tick)
        self.await_heartbeats(now)
        context = forks_of_a_small_process()
        started = []
        for host in hosts:
            is_bad = not self.is_over and self.random.random() < 0.35
            trouble = self.random.choice(TROUBLES) if is_bad else None
            process = context.Process(target=look, args=(self.root, host, trouble))
            process.start()
            started.append((process, trouble, tick + self.random.randint(1, 12)))
        for process, trouble, until in started:
            self.await_end(process, trouble, until)

    def await_end(self, process, trouble, until) -> None:
        deadline = time.monotonic() + 60
        while process.is_alive() and time.monotonic() < deadline:
            if (self.root / f"parked-{process.pid}").exists():
                self.parked.append((process, trouble, until))
                self.slow |= {process.pid} if trouble == "slow" else set()
                self.troubles[trouble] += 1
                return
            time.sleep(0.001)
        assert process.exitcode in (0, -signal.SIGKILL), process
        if process.exitcode:
            self.troubles[trouble] += 1

    def release(self, tick: int) -> None:
        """Lets go on what has been slow or frozen for long enough."""
        for process, trouble, until in list(self.parked):
            if until <= tick:
                self.parked.remove((process, trouble, until))
                assert process.pid is not None
                if trouble == "frozen":
                    os.kill(process.pid, signal.SIGCONT)
                (self.root / f"released-{process.pid}").touch()
                process.join(60)
                assert process.exitcode == 0

    def await_heartbeats(self, now: datetime.datetime) -> None:
        """Of what is slow: hours pass here in no time."""
        for process, trouble, _ in self.parked:
            deadline = time.monotonic() + 60
            while trouble == "slow" and time.monotonic() < deadline:
                beats = [each.heartbeat for each in self.attempts() if self.is_at(each, process)]
                if beats == [now]:
                    break
                time.sleep(0.002)

    def is_at(self, attempt: FireRecord, process: BaseProcess) -> bool:
        return attempt.pid == process.pid and attempt.ended is None

    def attempts(self, schedule: str = "*") -> list[FireRecord]:
        return [
            FireRecord.model_validate(json.loads(path.read_text()))
            for path in (self.root / "schedule" / "fires").glob(f"{schedule}/*.json")
        ]

    def fires(self, schedule: str) -> dict[str, FireRecord]:
        """The last attempt of each, by key."""
        attempts = sorted(self.attempts(schedule), key=lambda each: each.attempt)
        return {each.key: each for each in sorted(attempts, key=lambda each: each.key)}


def checkpoints(run, on_damaged=None):
    return [
        CheckpointInfo(int(path.name), 0, path, f"{run.name}{path.name}", "d")
        for path in sorted((run / "checkpoints").iterdir())
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """After two hundred ticks, and some more in which nothing goes wrong."""
    world = World(tmp_path_factory.mktemp("root"))
    for tick in range(2 * TICKS):
        begin = SPRING if tick < TICKS else AUTUMN - TICKS * TICK
        world.train()
        down = tick % 50 in range(20, 33)  # Both hosts are off for more than three hours.
        world.tick(tick, begin + tick * TICK, "" if down else "AB")
    world.is_over = True
    for tick in range(2 * TICKS, 2 * TICKS + 60):
        world.tick(tick, AUTUMN - TICKS * TICK + tick * TICK, "AB")
    return world


def test_everything_went_wrong(world):
    assert world.parked == []
    assert all(world.troubles[trouble] for trouble in TROUBLES if trouble != "fail")
    assert all(world.steps[run][-1] > 1000 for run in "ab")
    attempts = world.attempts()
    assert {each.action for each in attempts} == set(FireAction)
    assert any(each.action is FireAction.STARTED and each.coalesced for each in attempts)
    outcomes = {each.outcome for each in attempts if each.action is FireAction.STARTED}
    assert outcomes >= {Outcome.DONE, Outcome.FAILED, Outcome.GIVEN_UP, None}
    assert {each.host for each in attempts} == {"A", "B"}


@pytest.mark.parametrize("schedule", ["hourly", "stars", "nightly"])
def test_each_due_time_is_covered_by_one_record(world, schedule):
    config = read_schedules(world.root).schedules[schedule]
    (since,) = (world.root / "schedule" / "since").glob(f"{schedule}-*.json")
    after = datetime.datetime.fromisoformat(json.loads(since.read_text())["since"])
    assert after == SPRING
    fires = world.fires(schedule)
    until = max(fire.due for fire in fires.values())
    assert until > AUTUMN + 35 * datetime.timedelta(hours=1)
    dues = list(due_times(config.when, config.zone, after, until))
    covered = []
    for key, fire in fires.items():
        first = datetime.datetime.strptime(key, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
        of_fire = [due for due in dues if first <= due <= fire.due]
        assert (of_fire[0], of_fire[-1]) == (first, fire.due)
        assert len(of_fire) == fire.coalesced + 1
        covered += of_fire
    assert covered == dues, "none twice, none not at all"


def test_the_night_of_each_change_is_evaluated_once(world):
    """02:30 does not exist in spring, and comes twice in autumn."""
    started = [each.due for each in world.fires("nightly").values() if each.coalesced == 0]
    for day, due in (((3, 29), "01:00"), ((10, 25), "00:30")):
        (of_night,) = (each for each in started if (each.month, each.day) == day)
        assert f"{of_night:%H:%M}" == due


def test_each_fire_came_to_an_end(world):
    for schedule in ("hourly", "stars", "nightly", "every", "sparse"):
        for fire in world.fires(schedule).values():
            assert fire.is_settled, fire
            if fire.outcome is Outcome.GIVEN_UP:
                assert "broken" in fire.error or "(deadline)" in fire.error
            elif fire.action is FireAction.STARTED:
                assert fire.outcome is Outcome.DONE


def test_each_checkpoint_is_evaluated_once_for_each_schedule(world):
    made = Counter((world.root / "made").read_text().splitlines())
    assert set(made.values()) == {1}, "none twice"
    of_every = world.fires("every").values()
    assert sorted((fire.run, fire.step) for fire in of_every) == sorted(
        (run, step) for run, steps in world.steps.items() for step in steps
    )
    for fire in of_every:
        if (fire.run, fire.step) == BROKEN:
            assert (fire.outcome, fire.failures) == (Outcome.GIVEN_UP, 5)
            assert f"b-{BROKEN[1]}-" not in made
        else:
            assert f"{fire.run}-{fire.step}-" in made


def test_checkpoints_far_apart_are_those_far_apart(world):
    expected = []
    for run, steps in world.steps.items():
        last = None
        for step in steps:
            if last is None or step - last >= 300:
                expected.append((run, step))
                last = step
    evaluated = [(fire.run, fire.step) for fire in world.fires("sparse").values()]
    assert sorted(evaluated) == sorted(expected)


def test_fires_of_a_cron_line_do_not_overlap(world):
    """But for attempts that were frozen: another took over, and the first came back."""
    for schedule in ("hourly", "stars", "nightly"):
        fires = [
            each for each in world.fires(schedule).values() if each.action is FireAction.STARTED
        ]
        for fire, following in pairwise(fires):
            assert fire.ended <= following.first_started


def test_nobody_takes_over_from_a_process_that_lives(world):
    for fire in world.attempts():
        if fire.pid in world.slow and fire.action is FireAction.STARTED:
            taken_over = [
                each
                for each in world.attempts(fire.schedule)
                if (each.key, each.attempt) == (fire.key, fire.attempt + 1)
            ]
            assert all(fire.ended <= each.started for each in taken_over)


def test_few_files_are_left(world):
    assert list((world.root / "schedule").rglob("*.tmp")) == []
