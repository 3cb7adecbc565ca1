"""Tables on the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from manylabel.eval.summary import EvaluationSummary, Scores


def evaluation_table(summaries: Sequence[EvaluationSummary]) -> Table:
    """Evaluations of one run with the same settings, oldest first, and their baseline below."""
    last = summaries[-1]
    k, form = last.config.k, last.config.form
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=f"{last.headline_name}, {last.config.weights.kind} weights\n"
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
            f"[bold]{summary.headline:.4f}[/bold]",
            ratio_text(summary),
            *_cells(summary.scores),
        )
    table.add_section()
    baseline = last.baseline.weighted_map(form)
    table.add_row("baseline", "", f"{baseline:.4f}", "1.00", *_cells(last.baseline))
    return table


def ratio_text(summary: EvaluationSummary) -> str:
    """The headline over the baseline's, "–" when that is 0."""
    ratio = summary.ratio_to_baseline
    return "–" if ratio is None else f"{ratio:.2f}"


def _cells(scores: Scores) -> list[str]:
    values = (scores.map_image, scores.recall, *scores.precision.values())
    return [f"{value:.3f}" for value in values]
