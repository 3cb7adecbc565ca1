"""Tables on the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from manylabel.eval.store.summary import EvaluationSummary, Scores
from manylabel.pipeline.runs import ListedRun, Unreadable
from manylabel.trainer.runs.checkpoint import CheckpointInfo
from manylabel.trainer.runs.directory import RunDescription


def evaluation_table(summaries: Sequence[EvaluationSummary]) -> Table:
    """Evaluations of one run with the same settings, oldest first, and their baseline below."""
    last = summaries[-1]
    k = last.config.k
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=f"{last.headline.name}, {last.config.weights.kind} weights\n"
        f"{last.counts.images:,} held-out images",
        title_justify="left",
    )
    names = ("step", "samples", f"weighted\nMAP@{k}", "×\nbaseline", f"MAP\n@{k}", f"recall\n@{k}")
    for name in (*names, *(f"P@{n}" for n in last.scores.precision)):
        table.add_column(name, justify="right", no_wrap=True)
    for summary in summaries:
        table.add_row(
            f"{summary.provenance.step:,}",
            f"{summary.provenance.samples:,}",
            f"[bold]{summary.headline.value:.4f}[/bold]",
            _ratio(summary),
            *_scores(summary.scores),
        )
    table.add_section()
    table.add_row("baseline", "", f"{last.headline.baseline:.4f}", "1.00", *_scores(last.baseline))
    return table


def runs_table(runs: Sequence[ListedRun]) -> Table:
    """A row for each run: "–" is what there is not yet, "?" what cannot be read."""
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("run", overflow="fold", min_width=10)
    for name in ("begun", "classes", "step", "evaluated\nstep", "weighted\nMAP"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("×\nbaseline", justify="right", no_wrap=True)
    table.add_column("weights", no_wrap=True)
    for run in runs:
        table.add_row(
            escape(run.name),
            *_description(run.description),
            *_checkpoint(run.checkpoint),
            *_evaluation(run.evaluation),
        )
    return table


def _description(description: RunDescription | Unreadable) -> list[str]:
    if isinstance(description, Unreadable):
        return ["?"] * 2
    return [f"{description.created.astimezone():%Y-%m-%d}", f"{description.num_classes:,}"]


def _checkpoint(checkpoint: CheckpointInfo | Unreadable | None) -> list[str]:
    if isinstance(checkpoint, Unreadable):
        return ["?"]
    return ["–" if checkpoint is None else f"{checkpoint.step:,}"]


def _evaluation(summary: EvaluationSummary | Unreadable | None) -> list[str]:
    if isinstance(summary, Unreadable):
        return ["?"] * 4
    if summary is None:
        return ["–"] * 4
    return [
        f"{summary.provenance.step:,}",
        f"{summary.headline.value:.4f}",
        _ratio(summary),
        # As much as 80 columns have room for.
        summary.config.weights.kind.removeprefix("training_"),
    ]


def _ratio(summary: EvaluationSummary) -> str:
    """The headline over the baseline's, "–" when that is 0."""
    ratio = summary.headline.ratio_to_baseline
    return "–" if ratio is None else f"{ratio:.2f}"


def _scores(scores: Scores) -> list[str]:
    values = (scores.map_image, scores.recall, *scores.precision.values())
    return [f"{value:.3f}" for value in values]
