"""The stages `schedule run-due`, `schedule serve` and `schedule list`.

What is due is decided from files alone, each time anew, so that it does not matter who asks, how
often, or what became of who asked before.
"""

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

from manylabel.eval.schedule.config import ScheduleConfig, Schedules, read_schedules
from manylabel.eval.schedule.decision import Act, Decision
from manylabel.eval.schedule.progress import RunFacts
from manylabel.eval.schedule.records import FireAction, FireRecord, Outcome
from manylabel.eval.schedule.rules import ScheduleFacts, decide
from manylabel.eval.schedule.status import ScheduleStatus, schedule_statuses
from manylabel.eval.schedule.store import FireStore
from manylabel.pipeline.errors import CommandError, Interrupted
from manylabel.pipeline.events import FireBegan, FireSettled, OnEvent, ScheduleProblem
from manylabel.pipeline.schedule_fire import Fire, Surroundings
from manylabel.pipeline.schedule_review import review_against_champion
from manylabel.pipeline.schedule_runs import (
    OnProblem,
    covered_runs,
    evaluate_step,
    hold_waiting,
    run_facts,
)
from manylabel.pipeline.stopping import told_to_stop
from manylabel.storage.errors import ManylabelError, StorageError, described, reason_of


@dataclass(frozen=True)
class DueReport:
    """What one look at the schedules led to.

    Attributes:
        root: The folder that they are in.
        settled: Records of this call, as they ended.
        waiting: Why nothing more was to be done.
        is_busy: Another process of this host is at work for these schedules; nothing was done.
        unrecorded: What went wrong so that not even its record could be written, a line each.
    """

    root: Path
    settled: tuple[FireRecord, ...] = ()
    waiting: tuple[Decision, ...] = ()
    is_busy: bool = False
    unrecorded: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises CommandError, a line each, when something failed."""
        failed = (Outcome.FAILED, Outcome.GIVEN_UP)
        lines = [_failure(each, self.root) for each in self.settled if each.outcome in failed]
        lines += self.unrecorded
        if lines:
            raise CommandError("\n".join(lines))


def _failure(record: FireRecord, root: Path) -> str:
    then = "given up" if record.retry_at is None else f"tried again at {record.retry_at:%H:%M} UTC"
    return f"{record.schedule}: {record.error}; {then}; {root / (record.log or '')} has more"


def surroundings_of(on_event: OnEvent) -> Surroundings:
    """The real ones."""
    return Surroundings(
        evaluate=lambda run, step, overrides: evaluate_step(run, step, overrides, on_event),
        review=review_against_champion,
        clock=lambda: datetime.now(UTC),
        host=socket.gethostname(),
    )


def run_due(root: Path, on_event: OnEvent, surroundings: Surroundings | None = None) -> DueReport:
    """Does all that is due now, and what becomes due meanwhile.

    Raises:
        EvaluationError: there are no schedules, or their settings are wrong.
        Interrupted: it was told to stop while it evaluated.
    """
    root = root.absolute()
    schedules = read_schedules(root)
    problems = _Problems(on_event)
    work = _Work(root, schedules, on_event, problems, surroundings or surroundings_of(on_event))
    with told_to_stop():
        return work.do()


def serve(
    root: Path,
    on_event: OnEvent,
    surroundings: Surroundings | None = None,
    wait: Callable[[timedelta], object] = lambda interval: Event().wait(interval.total_seconds()),
) -> None:
    """Does what is due, again and again; ends when it is told to stop while nothing is at work.

    The settings may change meanwhile. Whatever goes wrong is told, and what is right goes on.

    Raises:
        EvaluationError: as `run_due`, when it begins.
        Interrupted: it was told to stop while it evaluated.
    """
    root = root.absolute()
    surroundings = surroundings or surroundings_of(on_event)
    problems = _Problems(on_event)
    schedules = read_schedules(root)
    with told_to_stop():
        try:
            while True:
                problems.look_again()
                try:
                    schedules = read_schedules(root)
                    _Work(root, schedules, on_event, problems, surroundings).do()
                except Interrupted:
                    raise
                except Exception as error:
                    problems.tell(_told(error))
                wait(schedules.interval)
        except KeyboardInterrupt:
            return  # Nothing was at work.


def list_schedules(
    root: Path, on_event: OnEvent, surroundings: Surroundings | None = None
) -> list[ScheduleStatus]:
    """Of each schedule what it did last and why, and what is next; writes nothing.

    Raises:
        EvaluationError: as `run_due`.
    """
    root = root.absolute()
    schedules = read_schedules(root)
    now = (surroundings or surroundings_of(on_event)).clock()
    store, problems = FireStore(root), _Problems(on_event)
    runs = {}
    for name, config in schedules.schedules.items():
        if not config.is_cron:
            with suppress(StorageError):  # The status says so.
                runs[name] = _runs(root, config, store.fires(name, config), problems.tell)
    return schedule_statuses(root, schedules, now, runs)


def _runs(
    root: Path, config: ScheduleConfig, fires: Sequence[FireRecord], on_problem: OnProblem
) -> list[RunFacts]:
    begun = {fire.key for fire in fires}
    found = [
        run_facts(run, config, begun, on_problem) for run in covered_runs(root, config, on_problem)
    ]
    return [facts for facts in found if facts is not None]


class _Problems:
    """Tells each problem once, and again only if it was gone in between."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._before: set[str] = set()
        self._now: set[str] = set()

    def look_again(self) -> None:
        """What is not told from now on is gone."""
        self._before, self._now = self._now, set()

    def tell(self, problem: str) -> None:
        """Tells a problem, unless it is known."""
        if problem not in self._before | self._now:
            self._on_event(ScheduleProblem(problem))
        self._now.add(problem)


class _Work:
    """One look at the schedules of a root."""

    def __init__(
        self,
        root: Path,
        schedules: Schedules,
        on_event: OnEvent,
        problems: _Problems,
        surroundings: Surroundings,
    ) -> None:
        self._root, self._schedules, self._on_event = root, schedules, on_event
        self._problems, self._surroundings = problems, surroundings
        self._store = FireStore(root)
        self._lost: set[tuple[str, str | None, int]] = set()  # What others have taken.
        self._unrecorded: set[tuple[str, str | None]] = set()  # Fires that cannot be written down.

    def do(self) -> DueReport:
        """Does what is due until nothing is."""
        crons = [each for each in self._schedules.schedules.items() if each[1].is_cron]
        with ExitStack() as stack:
            try:
                stack.enter_context(self._store.sole_worker(self._surroundings.host))
            except BlockingIOError:
                return DueReport(self._root, is_busy=True)
            self._store.forget_others(crons)
            return self._until_nothing_is_due()

    def _until_nothing_is_due(self) -> DueReport:
        settled: list[FireRecord] = []
        unrecorded: list[str] = []
        while True:
            decisions = self._decide()
            todo = [each for each in decisions if each.act is not Act.WAIT and self._is_mine(each)]
            if not todo:
                return DueReport(
                    self._root, tuple(settled), tuple(decisions), unrecorded=tuple(unrecorded)
                )
            try:
                record = self._carry_out(todo[0])
            except Interrupted:
                raise
            except Exception as error:  # A full disk, as it is: the others may lie elsewhere.
                unrecorded.append(f"{todo[0].schedule}: {_told(error)}; the next call tries again")
                self._problems.tell(unrecorded[-1])
                self._unrecorded.add((todo[0].schedule, todo[0].key))
                continue
            if record is not None:
                settled.append(record)
                self._on_event(FireSettled(record))

    def _carry_out(self, decision: Decision) -> FireRecord | None:
        """The record as it ends; None if another process has taken it."""
        surroundings = self._surroundings
        record = decision.record(surroundings.clock(), surroundings.host, os.getpid())
        log = self._store.log_path(record.schedule, record.key)
        if record.action is FireAction.STARTED:
            record = record.model_copy(update={"log": str(log)})
        if not self._store.claim(record):
            self._lost.add(_attempt(decision))
            return None
        if record.action is not FireAction.STARTED:
            return record
        if decision.act is not Act.GIVE_UP:
            self._on_event(FireBegan(record.schedule, record.reason))
        config = self._schedules.schedules[record.schedule]
        cluster = self._schedules.cluster
        return Fire(self._root, config, decision, record, surroundings, cluster).carry_out()

    def _is_mine(self, decision: Decision) -> bool:
        """Not if it was lost: a shared file system may show the other's record only later."""
        is_written = (decision.schedule, decision.key) not in self._unrecorded
        return is_written and _attempt(decision) not in self._lost

    def _decide(self) -> list[Decision]:
        facts = {}
        now = self._surroundings.clock()
        for name in self._schedules.schedules:
            try:
                facts[name] = self._facts(name, now)
            except (StorageError, OSError) as error:  # Its records are damaged; others are not.
                self._problems.tell(f"{name}: {reason_of(error)}")
        hold_waiting(self._root, self._schedules.schedules, facts, self._problems.tell)
        return decide(self._schedules, now, self._surroundings.host, facts)

    def _facts(self, name: str, now: datetime) -> ScheduleFacts:
        config = self._schedules.schedules[name]
        fires = self._store.fires(name, config)
        if config.is_cron:
            return ScheduleFacts(self._store.since(name, config, now), fires)
        runs = _runs(self._root, config, fires, self._problems.tell)
        return ScheduleFacts(now, fires, runs)


def _told(error: Exception) -> str:
    is_known = isinstance(error, ManylabelError | OSError)
    return reason_of(error) if is_known else described(error)


def _attempt(decision: Decision) -> tuple[str, str | None, int]:
    before = 0 if decision.before is None else decision.before.attempt
    return decision.schedule, decision.key, before + 1
