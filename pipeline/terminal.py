"""Shows what stages tell while they work, and what they return, on a terminal or in a log."""

import datetime
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from manylabel.cluster.facts import ClusterFacts
from manylabel.eval.review.words import sentence
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.pipeline import events
from manylabel.pipeline.cluster_check import Finding, Severity
from manylabel.pipeline.dataset_text import dataset_lines, verification_lines
from manylabel.pipeline.job_text import job_lines
from manylabel.pipeline.progress import ProgressDisplay, progress_display
from manylabel.pipeline.review import movers
from manylabel.pipeline.runs import ListedRun, problems_of
from manylabel.pipeline.schedule_text import fire_line, status_lines
from manylabel.pipeline.tables import (
    bands_table,
    evaluation_table,
    forms_table,
    jobs_table,
    movers_table,
    networks_table,
    nodes_table,
    runs_table,
)

if TYPE_CHECKING:  # These load Beam, Ray and matplotlib.
    from manylabel.eval.review.build import ReviewTables
    from manylabel.eval.schedule.status import ScheduleStatus
    from manylabel.pipeline.dataset import VerificationReport
    from manylabel.pipeline.demo import DemoReport
    from manylabel.pipeline.networks import ListedNetwork
    from manylabel.pipeline.predict import LabelsReport
    from manylabel.pipeline.promote import PromotionReport
    from manylabel.pipeline.review import WrittenReview
    from manylabel.pipeline.schedule import DueReport
    from manylabel.pipeline.submission.listing import ListedJob
    from manylabel.preprocessing.report import PreprocessingReport
    from manylabel.trainer.reports import TrainingProgress, TrainingReport


class Terminal:
    """Where one command shows everything."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._work = ExitStack()  # Closes the display.
        self._display: ProgressDisplay | None = None

    def on_event(self, event: events.Event) -> None:
        """Shows an event of a stage."""
        display = self._display  # Another thread may tell of the work's end meanwhile.
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
            case _ if display is not None:
                _show_progress(event, display)

    def show_dataset(self, report: "PreprocessingReport") -> None:
        """What a dataset holds and what was done for it."""
        self._print("\n".join(dataset_lines(report)))

    def show_verification(self, report: "VerificationReport") -> None:
        """What a dataset is made of, and what was written again."""
        self._print("\n".join(verification_lines(report)))

    def show_training(self, report: "TrainingReport") -> None:
        """How far a run came, and how fast."""
        if report.was_finished:
            self._print(
                f"{report.run}: nothing to do, its {report.step:,} updates of {report.samples:,} "
                "images are all that trainer.epochs asks for; raise that to go on from there"
            )
            return
        begin = f" (resumed at step {report.resumed_at:,})" if report.resumed_at else ""
        self._print(
            f"{report.run}: {_updates(report.step)}, {report.samples:,} images{begin}, "
            f"{report.images_per_second:.0f} images/s",
            soft_wrap=False,
        )

    def show_evaluations(self, summaries: Sequence[EvaluationSummary]) -> None:
        """A table with a row for each checkpoint, and the baseline."""
        if not summaries:
            self._print("every checkpoint has been evaluated with these settings")
            return
        self._console.print(evaluation_table(summaries))

    def show_comparison(self, tables: "ReviewTables") -> None:
        """The verdict, both forms of the metric, and which labels the difference comes from."""
        review = tables.review
        images, labels = review.images, review.headline.labels
        self._print(f"{review.candidate.name} against {review.reference.name}")
        self._console.print(sentence(review.headline, review.margin), style="bold", highlight=False)
        chosen = "" if review.looked_at == 1 else f"; one of {review.looked_at:,} checkpoints"
        self._print(
            f"weighted MAP@{review.candidate.k} ({review.form} form), {review.candidate.weights} "
            f"weights; paired over {images.counted:,} held-out images in {review.groups:,} "
            f"near-duplicate groups{chosen}"
        )
        self._console.print(forms_table(review))
        self._console.print(bands_table(review))
        self._print(
            f"images: {images.better:,} better, {images.worse:,} worse, {images.equal:,} equal\n"
            f"labels: {labels.shown_better:,} shown better and {labels.shown_worse:,} worse (false "
            f"discovery rate 10%), of {labels.testable:,} with enough images; {labels.too_few:,} "
            "have too few to tell"
        )
        gained, lost = movers(tables)
        for title, rows in (("Labels that gained most", gained), ("Labels that lost most", lost)):
            if rows:
                self._console.print(movers_table(title, rows, review.form))

    def show_review(self, written: "WrittenReview") -> None:
        """The comparison, what speaks against a promotion, and where all of it is."""
        self.show_comparison(written.tables)
        for check in written.tables.review.checks:
            self._print(f"{'✓' if check.passed else '✗'} {check.text}")
        self._print(f"written to {written.directory}")
        if written.report is not None:
            self._print(f"report: {written.report}")

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

    def show_runs(self, root: Path, runs: Sequence[ListedRun]) -> None:
        """A table with a row for each run; below it, what could not be read."""
        if not runs:
            self._print(f"{root}: no runs yet; manylabel train makes one", soft_wrap=False)
            return
        self._console.print(runs_table(runs))
        for run in runs:
            for problem in problems_of(run):
                self._print(f"? {problem}")

    def show_networks(self, networks: Sequence["ListedNetwork"], classes: int) -> None:
        """A table with a row for each network."""
        self._console.print(networks_table(networks, classes))

    def show_demo(self, report: "DemoReport") -> None:
        """The table of evaluations, where the pictures are, and what to do next."""
        self.show_evaluations(report.summaries)
        last = report.summaries[-1].provenance.step
        self._print(
            f"{report.report}  is the last checkpoint better than the champion, on which labels?\n"
            f"{report.profile}  the metric over training, with the baseline\n"
            f"{report.sheet}  held-out pictures, their labels and what was predicted\n\n"
            "Next, after `source .venv/bin/activate`:\n"
            f"  manylabel dashboard {report.output}\n"
            f'  manylabel promote {report.run} --step {last} --reason "better on most labels"\n'
            f"  manylabel export {report.output} --output {report.output / 'model'}\n"
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

    def show_cluster(self, facts: ClusterFacts, findings: Sequence[Finding]) -> None:
        """A table with a row for each node, and what may make jobs fail or slow."""
        self._console.print(nodes_table(facts))
        for finding in findings:
            if finding.severity is Severity.WARNING:
                self._print(f"! {finding.line()}")
        token = "with a token" if facts.asks_for_token else "open to anyone"
        verdict = "" if findings else "; nothing speaks against a job there"
        self._print(f"{facts.address}: {len(facts.nodes):,} nodes, {token}{verdict}")

    def show_jobs(self, listed: "Sequence[ListedJob]", now: datetime.datetime) -> None:
        """Jobs, newest last."""
        if not listed:
            self._print("no jobs")
            return
        self._console.print(jobs_table(listed, now))
        for job in listed:
            if job.view.why and job.view.why != str(job.view.standing):
                self._print(f"{job.place}, {job.stage}: {job.view.why}")

    def show_job_status(self, listed: "Sequence[ListedJob]", now: datetime.datetime) -> None:
        """How each job of one place is."""
        for job in listed:
            for line in job_lines(job, now):
                self._print(line)

    def _print(self, text: str, *, soft_wrap: bool = True) -> None:
        """Text as it is: a path may hold what Rich takes for markup."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=soft_wrap)


def _show_progress(event: events.Event, display: ProgressDisplay) -> None:
    match event:
        case events.PreprocessingProgressed(progress):
            display.part(
                progress.stage,
                progress.done,
                progress.total,
                progress.unit,
                progress.rate,
                progress.under_way,
            )
        case events.TrainingProgressed(training):
            for note in training.notes:
                display.line(note)
            display.update(training.settled, training.total, _speed_and_loss(training))
        case events.LineTold(line):
            display.line(line)
        case events.PredictionProgressed(done, total) | events.ScoringProgressed(done, total):
            display.update(done, total)
        case events.Doing(what):
            display.update(0, None, what)


def _updates(number: int) -> str:
    return f"{number:,} update{'s' if number != 1 else ''}"


def _speed_and_loss(progress: "TrainingProgress") -> str:
    row, number = progress.row, progress.workers
    workers = f"  {number} worker{'s' if number > 1 else ''}" if number else ""
    if row is None and not progress.updates:
        return "workers are starting"
    if row is None:  # It comes after some updates, of which the last minutes may have fewer.
        return f"{_updates(progress.updates)}{workers}"
    return (
        f"{row.images_per_second:.0f} images/s  loss {row.loss:.3f}  "
        f"rate {row.learning_rate:.2g}  staleness {row.staleness:.1f}{workers}"
    )
