"""The runs that schedules cover: what is new in them, and what is held for whom."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from manylabel.eval.config import MetricForm
from manylabel.eval.ranking.weights import raw_weights
from manylabel.eval.schedule.config import ScheduleConfig, Steps
from manylabel.eval.schedule.progress import CheckpointFact, RunFacts, progress_of
from manylabel.eval.schedule.records import checkpoint_key
from manylabel.eval.schedule.rules import ScheduleFacts
from manylabel.eval.settings import settings_key
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.pipeline.choice import Evaluated, choose_checkpoints
from manylabel.pipeline.config import eval_settings
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.events import EvaluatedBefore, Event, OnEvent
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import ManylabelError, StorageError, reason_of
from manylabel.storage.pins import hold_after, holding_schedules, release
from manylabel.storage.usable_paths import is_text
from manylabel.trainer.runs.checkpoint import CheckpointInfo, list_checkpoints
from manylabel.trainer.runs.directory import DESCRIPTION, SETTINGS, open_run

OnProblem = Callable[[str], None]


def covered_runs(root: Path, config: ScheduleConfig, on_problem: OnProblem) -> list[Path]:
    """The runs directly below the root whose names a schedule's glob matches, by name.

    Those whose names are not UTF-8 are told and left out: no record could name them.
    """
    covered = []
    for run in sorted(path.parent for path in root.glob(f"*/{DESCRIPTION}")):
        if run.name.startswith(".") or not fnmatchcase(run.name, config.runs):
            continue  # A hidden folder is somebody's backup.
        if is_text(run.name):
            covered.append(run)
        else:
            on_problem(
                f"{as_text(str(run))}: its name is not UTF-8, and schedules leave it out; rename it"
            )
    return covered


def as_text(text: str) -> str:
    """What of a text can be written; the other characters as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def run_facts(
    run: Path, config: ScheduleConfig, begun: Collection[str], on_problem: OnProblem
) -> RunFacts | None:
    """The checkpoints of a run; None if it cannot be read, which is told.

    Args:
        begun: Keys of fires that there are: what those are for need not be looked at.
    """
    try:
        found = list_checkpoints(run)
    except ManylabelError as error:
        on_problem(str(error))
        return None
    keys = {info.step: checkpoint_key(run.name, info.step, info.digest) for info in found}
    unknown = [info for info in found if keys[info.step] not in begun]
    try:
        evaluated = _evaluated(run, unknown, config.overrides)
    except StorageError as error:  # Its dataset is away: nothing can be said, nothing be done.
        on_problem(f"{run.name}: {error}; its checkpoints wait")
        return None
    facts = (CheckpointFact(info.step, info.digest, info.step in evaluated) for info in found)
    return RunFacts(run.name, tuple(facts))


def _evaluated(
    run: Path, checkpoints: Sequence[CheckpointInfo], overrides: Sequence[str]
) -> set[int]:
    """The steps of those that have an evaluation with the schedule's settings.

    Raises:
        StorageError: the run's dataset cannot be read.
    """
    if not checkpoints:
        return set()
    try:
        evaluated, _ = evaluations_of(run, overrides)
        return {info.step for info in checkpoints if evaluated.find(info) is not None}
    except StorageError:
        raise
    except ManylabelError:  # Told when it is evaluated, which it is then not.
        return set()


def step_of(run: Path, config: ScheduleConfig) -> str | None:
    """What a cron line's fire evaluates of a run, as `evaluate --step` has it: a number, or "all";
    None where there is nothing.

    Raises:
        TrainingError, StorageError, SettingsError, EvaluationError: the run, or with `steps: best`
            its dataset, cannot be read.
    """
    found = list_checkpoints(run)
    if not found:
        return None
    match config.steps:
        case Steps.NEWEST:
            return str(found[-1].step)
        case Steps.ALL:  # One call for all, whose baseline and history are made once.
            return "all"
        case Steps.BEST:  # By the run's own settings: the schedule's would only find its own.
            evaluated, form = evaluations_of(run, ())
            try:
                (best,) = choose_checkpoints(found, "best", evaluated, form)
            except CommandError:
                return None  # None has been evaluated.
            return str(best.step)


def evaluate_step(
    run: Path, step: str, overrides: Sequence[str], on_event: OnEvent
) -> list[EvaluationSummary]:
    """Evaluates checkpoints of a run; what has been evaluated costs nothing.

    Args:
        step: As `evaluate --step` has it: a number, or "all".

    Raises:
        EvaluationBusyError: another process evaluates one of them.
        CommandError, TrainingError, EvaluationError, SettingsError, StorageError: as
            `evaluate_run`.
    """
    from manylabel.pipeline.evaluate import evaluate_run  # It compiles; most calls have no use.

    def on_news(event: Event) -> None:
        if not isinstance(event, EvaluatedBefore):  # With `steps: all` a line for each, each night.
            on_event(event)

    return evaluate_run(run, step, None, overrides, on_news)


def hold_waiting(
    root: Path,
    schedules: Mapping[str, ScheduleConfig],
    facts: Mapping[str, ScheduleFacts],
    on_problem: OnProblem,
) -> None:
    """Keeps checkpoints that wait for a schedule from retention until the next call, and lets go of
    those that no schedule of the settings waits for any more. A run that cannot be written is told.
    """
    for name, of_schedule in facts.items():
        for run in of_schedule.runs:
            progress = progress_of(run, schedules[name], of_schedule.fires)
            with _told_of(root / run.name, on_problem):
                hold_after(root / run.name, name, progress.held_after(schedules[name]))
    for path in root.glob(f"*/{DESCRIPTION}"):
        run_dir = path.parent
        for name in holding_schedules(run_dir):
            config = schedules.get(name)
            if config is None or config.is_cron or not fnmatchcase(run_dir.name, config.runs):
                with _told_of(run_dir, on_problem):
                    release(run_dir, name)


@contextmanager
def _told_of(run: Path, on_problem: OnProblem) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        on_problem(f"{run}: what waits there cannot be kept from retention: {reason_of(error)}")


def evaluations_of(run: Path, overrides: Sequence[str]) -> tuple[Evaluated, MetricForm]:
    """Those of a run with its own settings and overrides on top; and the form of the headline.

    Raises:
        SettingsError, StorageError, TrainingError, EvaluationError: the run, its settings or its
            dataset cannot be read.
    """
    config = eval_settings(overrides, run / SETTINGS)
    dataset = Dataset.open(open_run(run).dataset)
    key = settings_key(config, raw_weights(config.weights, dataset.labels()))
    return Evaluated(run, dataset, key), config.form
