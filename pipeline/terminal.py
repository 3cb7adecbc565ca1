"""Shows what stages tell while they work, and what they return, on a terminal or in a log."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from manylabel.eval.store.summary import EvaluationSummary
from manylabel.pipeline import events
from manylabel.pipeline.progress import ProgressDisplay, progress_display
from manylabel.pipeline.runs import ListedRun, problems_of
from manylabel.pipeline.schedule_text import fire_line, status_lines
from manylabel.pipeline.tables import evaluation_table, runs_table
from manylabel.storage.schema import SplitName

if TYPE_CHECKING:  # These load Beam, Ray and matplotlib.
    from manylabel.eval.schedule.status import ScheduleStatus
    from manylabel.pipeline.demo import DemoReport
    from manylabel.pipeline.predict import LabelsReport
    from manylabel.pipeline.predict import LabelsReport
    from manylabel.pipeline.promote import PromotionReport
    from manylabel.pipeline.schedule import DueReport
    from manylabel.preprocessing.job import PreprocessingReport
    from manylabel.trainer.job import TrainingProgress, TrainingReport


class Terminal:
    """Where one command shows everything."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._work = ExitStack()  # Closes the display.
        self._display: ProgressDisplay | None = None

    def on_event(self, event: events.Event) -> None:
        """Shows an event of a stage."""
        match event:
            case events.WorkBegan(title):
                self._display = self._work.enter_context(progress_display(title, self._console))
            case events.WorkEnded():
                self._work.close()
                self._display = None
            case events.EvaluatedBefore(step):
                self._console.print(f"step {step:,}: evaluated before", highlight=False)
            case events.CheckpointDamaged(problem):
                self._print(f"left out: {problem}")
            case events.ResultUnreadable(step, problem):
                self._print(problem if step is None else f"step {step:,}: {problem}")
            case events.PartBegan(number, title):
                self._console.rule(f"{number}  {title}", align="left")
            case events.Preprocessed(report):
                self.show_dataset(report)
            case events.Trained(report):
                self.show_training(report)
            case events.FireBegan(schedule, reason):
                self._print(f"{schedule}: {reason}")
            case events.FireSettled(record):
                self._print(fire_line(record))
            case events.ScheduleProblem(problem):
                self._print(f"? {problem}")
            case _ if self._display is not None:
                _show_progress(event, self._display)

    def show_dataset(self, report: "PreprocessingReport") -> None:
        """What a dataset holds and what was done for it."""
        lines = [
            f"{report.dataset}: {report.images[SplitName.TRAIN]:,} images to train on, "
            f"{report.images[SplitName.HELDOUT]:,} held out, {report.num_classes:,} classes"
        ]
        counts = report.counts
        lines.append(
            f"{counts.listed:,} listed = {counts.written:,} written + {counts.rejected:,} rejected "
            f"+ {counts.duplicates:,} duplicates"
        )
        if report.rejected:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in report.rejected.items())
            lines.append(f"rejected.parquet: {reasons}")
        if report.nothing_to_do:
            lines.append("nothing to do: the dataset was there, complete and intact")
        else:
            lines.append(
                f"wrote {report.shards_written} shards, kept {report.shards_kept}, "
                f"in {report.seconds:.0f} s"
            )
        self._print("\n".join(lines))

    def show_training(self, report: "TrainingReport") -> None:
        """How far a run came, and how fast."""
        begin = f" (resumed at step {report.resumed_at:,})" if report.resumed_at else ""
        self._print(
            f"{report.run}: {report.step:,} updates, {report.samples:,} images{begin}, "
            f"{report.images_per_second:.0f} images/s",
            soft_wrap=False,
        )

    def show_evaluations(self, summaries: Sequence[EvaluationSummary]) -> None:
        """A table with a row for each checkpoint, and the baseline."""
        if not summaries:
            self._print("every checkpoint has been evaluated with these settings")
            return
        self._console.print(evaluation_table(summaries))

    def show_promotion(self, report: "PromotionReport") -> None:
        """What was decided, and on what evidence."""
        promotion = report.promotion
        lines = [f"{promotion.candidate.name} is the champion ({report.path})"]
        if promotion.replaced is not None:
            lines.append(f"instead of {promotion.replaced.name}")
        for check in report.review.checks if report.review is not None else ():
            overridden = check.name in promotion.checks_overridden
            mark = "overridden:" if overridden else "✓"
            lines.append(f"{mark} {check.text}")
        self._print("\n".join(lines))

    def show_export(self, directory: Path) -> None:
        """Where the model is."""
        self._print(f"exported to {directory}", soft_wrap=False)

    def show_labels(self, report: "LabelsReport") -> None:
        """How many images have labels now, and what was left out; the labels of a single one."""
        self._print("\n".join(report.lines()))

    def show_labels(self, report: "LabelsReport") -> None:
        """How many images have labels now, and what was left out; the labels of a single one."""
        self._print("\n".join(report.lines()))

    def show_runs(self, root: Path, runs: Sequence[ListedRun]) -> None:
        """A table with a row for each run; below it, what could not be read."""
        if not runs:
            self._print(f"{root}: no runs yet; manylabel train makes one", soft_wrap=False)
            return
        self._console.print(runs_table(runs))
        for run in runs:
            for problem in problems_of(run):
                self._print(f"? {problem}")

    def show_demo(self, report: "DemoReport") -> None:
        """The table of evaluations, where the pictures are, and what to do next."""
        self.show_evaluations(report.summaries)
        self._print(
            f"{report.profile}  the metric over training, with the baseline\n"
            f"{report.sheet}  held-out pictures, their labels and what was predicted\n\n"
            "Next:\n"
            f"  manylabel export {report.run} --output {report.output / 'model'}\n"
            f"  tensorboard --logdir {report.run}\n"
            "  manylabel presets show demo > mine.yaml, and on with your own images: "
            "docs/getting-started.md"
        )

    def show_due(self, report: "DueReport") -> None:
        """Why nothing was to be done; in a log, where this comes every minute, nothing."""
        if report.settled or not self._console.is_terminal:
            return
        if report.is_busy:
            self._print("another process of this host is at work for these schedules")
        for decision in report.waiting:
            self._print(f"{decision.schedule}: {decision.reason}")

    def show_schedules(self, statuses: "Sequence[ScheduleStatus]") -> None:
        """Of each schedule what it did last, why, and what is next."""
        for line in status_lines(statuses):
            self._print(line)

    def _print(self, text: str, *, soft_wrap: bool = True) -> None:
        """Text as it is: a path may hold what Rich takes for markup."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=soft_wrap)


def _show_progress(event: events.Event, display: ProgressDisplay) -> None:
    match event:
        case events.PreprocessingProgressed(progress):
            display.update(progress.done, progress.total, progress.stage)
        case events.TrainingProgressed(training):
            for note in training.notes:
                display.line(note)
            display.update(training.settled, training.total, _speed_and_loss(training))
        case events.PredictionProgressed(done, total):
            display.update(done, total)


def _speed_and_loss(progress: "TrainingProgress") -> str:
    row = progress.row
    if row is None:
        return "workers are starting"
    return (
        f"{row.images_per_second:.0f} images/s  loss {row.loss:.3f}  "
        f"rate {row.learning_rate:.2g}  staleness {row.staleness:.1f}  {progress.workers} workers"
    )
