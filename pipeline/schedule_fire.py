"""Carries out one fire of a schedule: evaluates, reviews, runs commands, and records all of it."""

import os
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from manylabel.eval.schedule.cluster import EvaluationCluster
from manylabel.eval.schedule.config import ScheduleConfig
from manylabel.eval.schedule.decision import Act, Decision
from manylabel.eval.schedule.records import (
    HEARTBEAT,
    FireEvaluation,
    FireJob,
    FireRecord,
    Outcome,
)
from manylabel.eval.schedule.store import FireStore
from manylabel.eval.statistics.differences import Verdict
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.pipeline.errors import EvaluationBusyError, Interrupted
from manylabel.pipeline.schedule_cluster import EvaluateOn, evaluate_on_cluster
from manylabel.pipeline.schedule_runs import as_text, covered_runs, step_of
from manylabel.pipeline.stopping import raise_if_told
from manylabel.storage.errors import ManylabelError, described, reason_of
from manylabel.storage.full_disks import writing
from manylabel.storage.repeating import repeating

RETRY_AFTER = timedelta(minutes=5)
"""After the first failure, and twice as long after each further one: what fails at once usually
fails again a moment later (a full disk, a file system that is away)."""

COMMAND_SECONDS = 300
"""A command that takes longer is ended: it is to tell somebody, not to work."""

Evaluate = Callable[[Path, str, Sequence[str]], list[EvaluationSummary]]
ReviewAgainstChampion = Callable[[Path, EvaluationName, str], Verdict | None]
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Surroundings:
    """What schedules work with; tests put other things in their place.

    Attributes:
        evaluate: Of a run a step, or "all", with overrides; evaluates nothing twice.
        review: Of an evaluation below the root, by name and settings: None without a champion, or
            of the champion itself.
        clock: Now, with a time zone.
        host: Name of this one.
        evaluate_on: As `evaluate`, on a cluster.
    """

    evaluate: Evaluate
    review: ReviewAgainstChampion
    clock: Clock
    host: str
    evaluate_on: EvaluateOn = evaluate_on_cluster


class Fire:
    """One attempt at a fire, which this process has claimed.

    Args:
        cluster: That evaluates; None: this process does.
    """

    def __init__(
        self,
        root: Path,
        config: ScheduleConfig,
        decision: Decision,
        record: FireRecord,
        surroundings: Surroundings,
        cluster: EvaluationCluster | None = None,
    ) -> None:
        self._root, self._config, self._decision = root, config, decision
        self._record, self._surroundings = record, surroundings
        self._cluster = cluster
        self._renewing = threading.Lock()  # Heartbeats and jobs come from two threads.
        self._store = FireStore(root)
        self._commands: list[str] = []
        # With what earlier attempts evaluated: it is neither reviewed nor told again.
        self._evaluations = {_name(each): each for each in record.evaluations}

    def carry_out(self) -> FireRecord:
        """Does what was decided; returns the record as it ends, which is on disk then.

        Raises:
            Interrupted: the process was told to stop.
        """
        self._log(f"attempt {self._record.attempt}: {self._record.reason}")
        try:
            with self._heartbeats():
                ended = self._settled()
        except KeyboardInterrupt as stop:
            self._end(self._ended(Outcome.INTERRUPTED, error="the process was stopped"))
            raise Interrupted(
                f"{self._record.schedule}: stopped; the next run-due goes on from there"
            ) from stop
        return self._end(ended)

    def _settled(self) -> FireRecord:
        """The record as it ends, whatever goes wrong."""
        try:
            return self._given_up() if self._decision.act is Act.GIVE_UP else self._attempt()
        except Exception as error:  # Counted: it is in the record, and tried again.
            raise_if_told(error)
            return self._failed(self._told(error))

    def _attempt(self) -> FireRecord:
        problems: list[str] = []
        is_busy = False
        for run, step in self._targets(problems):
            try:
                self._evaluate(run, step)
            except Exception as error:  # It keeps no other run from being evaluated.
                raise_if_told(error)
                is_busy = is_busy or isinstance(error, EvaluationBusyError)
                problems.append(self._told(error))
        problem = "; ".join(problems)
        if is_busy:
            retry_at = self._surroundings.clock() + RETRY_AFTER
            return self._ended(Outcome.INTERRUPTED, error=problem, retry_at=retry_at)
        return self._failed(problem) if problems else self._ended(Outcome.DONE)

    def _targets(self, problems: list[str]) -> Iterator[tuple[Path, str]]:
        """Runs, and what to evaluate of each."""
        if self._record.run is not None and self._record.step is not None:
            yield self._root / self._record.run, str(self._record.step)
            return
        for run in covered_runs(self._root, self._config, self._log):
            try:
                step = step_of(run, self._config)
            except Exception as error:
                problems.append(self._told(error))
                continue
            if step is not None:
                yield run, step

    def _evaluate(self, run: Path, step: str) -> None:
        """Evaluates, reviews the newest evaluation that this fire made, and tells if it is worse.

        What is noted of an evaluation is complete: whoever is stopped before does it again.
        """
        found = []
        summaries = self._summaries(run, step)
        for summary in sorted(summaries, key=lambda each: each.provenance.step):
            # Also what an attempt made that died: nobody has reviewed it.
            new = summary.provenance.evaluated_at >= self._record.first_started
            of_step, settings = summary.provenance.step, summary.settings
            found.append(FireEvaluation(run=run.name, step=of_step, settings=settings, new=new))
            self._log(f"{run.name}@{of_step} ({settings}): {'evaluated' if new else 'was there'}")
        for made in found:
            if _name(made) in self._evaluations:
                continue
            if made.new and made is found[-1]:
                made = self._reviewed(made)
                if made.verdict == Verdict.WORSE:
                    reason = f"{made.run}@{made.step} is shown worse than the champion"
                    self._run_command("on_worse", reason, made.run, made.step)
            self._evaluations[_name(made)] = made

    def _summaries(self, run: Path, step: str) -> list[EvaluationSummary]:
        overrides = self._config.overrides
        if self._cluster is None:
            return self._surroundings.evaluate(run, step, overrides)
        return self._surroundings.evaluate_on(
            self._cluster, run, step, overrides, self._note_job, self._log
        )

    def _note_job(self, job: FireJob) -> None:
        """Before it is waited for: whoever finds this process dead finds the job."""
        if job not in self._record.jobs:
            self._renew({"jobs": (*self._record.jobs, job)})

    def _reviewed(self, made: FireEvaluation) -> FireEvaluation:
        name = EvaluationName(made.run, made.step)
        try:
            verdict = self._surroundings.review(self._root, name, made.settings)
        except ManylabelError as error:  # The evaluation is sound; the page says why there is none.
            self._log(f"no review: {reason_of(error)}")
            return made.model_copy(update={"note": reason_of(error)})
        if verdict is not None:
            self._log(f"against the champion: {verdict}")
        return made.model_copy(update={"verdict": verdict})

    def _failed(self, problem: str) -> FireRecord:
        failures = self._record.failures + 1
        if failures > self._config.retries:
            self._run_command("on_failure", problem, self._record.run, self._record.step)
            return self._ended(Outcome.GIVEN_UP, error=problem)
        wait = RETRY_AFTER * 2**self._record.failures
        retry_at = self._surroundings.clock() + wait
        return self._ended(Outcome.FAILED, error=problem, retry_at=retry_at)

    def _given_up(self) -> FireRecord:
        problem = self._decision.reason
        self._run_command("on_failure", problem, self._record.run, self._record.step)
        return self._ended(Outcome.GIVEN_UP, error=problem)

    def _run_command(self, name: str, reason: str, run: str | None, step: int | None) -> None:
        """Before the record says that all is done: whoever is killed in between does it again."""
        command = self._config.on_worse if name == "on_worse" else self._config.on_failure
        if command is None:
            return
        variables = {
            "MANYLABEL_RUN": run or "",
            "MANYLABEL_STEP": "" if step is None else str(step),
            "MANYLABEL_SCHEDULE": self._record.schedule,
            "MANYLABEL_REASON": reason,
        }
        # The text of an error may hold anything, and no environment holds a NUL.
        variables = {key: value.replace("\0", "\\0") for key, value in variables.items()}
        self._log(f"{name}: {command}")
        self._commands.append(f"{name}: {self._outcome_of(command, variables)}")
        self._log(self._commands[-1])

    def _outcome_of(self, command: Sequence[str], variables: Mapping[str, str]) -> str:
        try:
            with self._log_path.open("ab") as log:
                done = subprocess.run(
                    command,
                    cwd=self._root,
                    env=os.environ | variables,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    timeout=COMMAND_SECONDS,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            return f"ended after {COMMAND_SECONDS} s"
        except (OSError, ValueError) as error:
            return f"cannot be run: {reason_of(error)}"
        return f"exit code {done.returncode}"

    def _told(self, error: Exception) -> str:
        problem = reason_of(error)
        if not isinstance(error, ManylabelError):
            problem = described(error)
            self._log("".join(traceback.format_exception(error)))
        self._log(f"failed: {problem}")
        return problem

    def _ended(
        self,
        outcome: Outcome,
        *,
        error: str | None = None,
        retry_at: datetime | None = None,
    ) -> FireRecord:
        now = self._surroundings.clock()
        return self._record.model_copy(
            update={
                "outcome": outcome,
                "ended": now,
                "heartbeat": now,
                "error": error,
                "retry_at": retry_at,
                "evaluations": tuple(self._evaluations[name] for name in sorted(self._evaluations)),
                "commands": tuple(self._commands),
            }
        )

    def _end(self, ended: FireRecord) -> FireRecord:
        self._log(f"{ended.outcome}")
        self._store.renew(ended)
        return ended

    def _renew(self, changes: Mapping[str, object]) -> None:
        with self._renewing:
            self._record = self._record.model_copy(update=changes)
            self._store.renew(self._record)

    @contextmanager
    def _heartbeats(self) -> Iterator[None]:
        """Says every now and then that this process lives, until the block ends."""

        def beat() -> None:
            # Without room for it another host may take this for dead: that does no harm.
            with suppress(OSError):
                self._renew({"heartbeat": self._surroundings.clock()})

        with repeating(beat, HEARTBEAT.total_seconds(), "heartbeats"):
            yield

    @property
    def _log_path(self) -> Path:
        return self._root / self._store.log_path(self._record.schedule, self._record.key)

    def _log(self, text: str) -> None:
        path = self._log_path
        with writing(path), path.open("a", encoding="utf-8") as log:
            log.write(f"{self._surroundings.clock():%Y-%m-%dT%H:%M:%SZ} {as_text(text)}\n")


def _name(evaluation: FireEvaluation) -> tuple[str, int, str]:
    return evaluation.run, evaluation.step, evaluation.settings
