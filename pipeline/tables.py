"""Tables on the terminal."""

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from manylabel.cluster.facts import ClusterFacts, Seen
from manylabel.deploy.dashboard import formats
from manylabel.eval.config import MetricForm
from manylabel.eval.review.model import Review
from manylabel.eval.store.summary import EvaluationSummary, Headline, Interval, Scores
from manylabel.pipeline.job_text import age, job_progress, job_rate
from manylabel.pipeline.runs import ListedRun, Unreadable
from manylabel.trainer.runs.checkpoint import CheckpointInfo
from manylabel.trainer.runs.directory import RunDescription

if TYPE_CHECKING:  # They load TensorFlow, and the client of clusters.
    from manylabel.pipeline.networks import ListedNetwork
    from manylabel.pipeline.submission.listing import ListedJob


def evaluation_table(summaries: Sequence[EvaluationSummary]) -> Table:
    """Evaluations of one run with the same settings, oldest first, and their baseline below."""
    last = summaries[-1]
    k = last.config.k
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=f"{last.headline.name}, {last.config.weights.kind} weights\n"
        f"{last.counts.images:,} held-out images in {last.counts.near_duplicate_groups:,} "
        "near-duplicate groups",
        title_justify="left",
    )
    other = next(form for form in MetricForm if form is not last.headline.form)
    names = ("step", "samples", f"weighted\nMAP@{k}", "95%\ninterval", "×\nbase")
    others = (f"{other}\nform", "×\nbase", f"recall\n@{k}")
    for name in (*names, *others, *(f"P@{n}" for n in list(last.scores.precision)[:1])):
        table.add_column(name, justify="right", no_wrap=True)
    for summary in summaries:
        headline, beside = summary.headline, summary.headline_of(other)
        table.add_row(
            f"{summary.provenance.step:,}",
            f"{summary.provenance.samples:,}",
            f"[bold]{headline.value:.4f}[/bold]",
            _interval(headline.interval),
            _ratio(headline),
            f"{beside.value:.3f}",
            _ratio(beside),
            *_scores(summary.scores),
        )
    table.add_section()
    values = [last.headline.baseline, last.headline_of(other).baseline]
    table.add_row(
        "baseline",
        "",
        f"{values[0]:.4f}",
        "",
        "1.00",
        f"{values[1]:.3f}",
        "1.00",
        *_scores(last.baseline),
    )
    return table


def forms_table(review: Review) -> Table:
    """Both forms of the weighted MAP@k, the headline's first."""
    table = _plain_table()
    table.add_column("form", no_wrap=True)
    for name in (
        f"{review.candidate.run}\n@{review.candidate.step}",
        f"{review.reference.run}\n@{review.reference.step}",
        "baseline",
    ):
        table.add_column(escape(name), justify="right", overflow="fold")
    for name in ("difference", "95% interval", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for form in sorted(MetricForm, key=lambda form: form is not review.form):
        result = review.forms[form]
        difference = result.difference
        table.add_row(
            form,
            formats.map_value(result.candidate.value),
            formats.map_value(result.reference.value),
            formats.map_value(result.candidate_baseline),
            formats.difference(difference.value),
            formats.interval(difference.low, difference.high, formats.difference),
            formats.probability(difference.p_value),
        )
    return table


def bands_table(review: Review) -> Table:
    """What the labels of each frequency add to the headline's difference."""
    table = _plain_table(title="By training images of the label; parts of the difference")
    table.add_column("training images", no_wrap=True)
    for name in ("labels", "difference", "95% interval", "p (Holm)"):
        table.add_column(name, justify="right", no_wrap=True)
    bands = review.headline.bands
    for each in bands:
        table.add_row(
            each.band.name,
            formats.count(each.labels),
            formats.difference(each.difference.value),
            formats.interval(each.difference.low, each.difference.high, formats.difference),
            formats.probability(each.p_holm),
        )
    table.add_section()
    labels = sum(each.labels for each in bands)
    total = formats.difference(review.headline.difference.value)
    table.add_row("together", formats.count(labels), total, "", "")
    return table


def movers_table(title: str, rows: Sequence[Mapping[str, Any]], form: MetricForm) -> Table:
    """Labels with what they add to the difference; rows of `eval.review.model.LABELS_SCHEMA`."""
    table = _plain_table(title=title)
    table.add_column("label", overflow="fold", min_width=16)
    for name in ("images", "AP", "was", "×10⁻⁴", "q"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        q = row[f"{form}_q"]
        table.add_row(
            escape(row["name"]),
            formats.count(row["heldout_count"]),
            formats.average_precision(row["candidate_average_precision"]),
            formats.average_precision(row["reference_average_precision"]),
            formats.contribution(row[f"{form}_contribution"]),
            "too few" if q is None else formats.probability(q),
        )
    return table


def _plain_table(title: str | None = None) -> Table:
    return Table(
        box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left"
    )


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


def networks_table(networks: Sequence["ListedNetwork"], classes: int) -> Table:
    """A row for each network."""
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=f"with {classes:,} classes",
        title_justify="left",
    )
    table.add_column("network", overflow="fold")
    for name in ("input\npixels", "parameters\ntrained", "all", "multiply-\nadds, 10⁹"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("features", "L2"):
        table.add_column(name, justify="right", no_wrap=True)
    for network in networks:
        figures = network.figures
        table.add_row(
            escape("\n  ".join([network.name, *network.settings])),
            f"{network.input_size}",
            f"{figures.trainable:,}",
            f"{figures.total:,}",
            f"{figures.multiply_adds / 1e9:#.3g}",
            f"{figures.features:,}",
            f"{network.l2:g}",
        )
    return table


def nodes_table(facts: ClusterFacts) -> Table:
    """A row for each node of a cluster: free of all cores and GPUs, versions, the agent's door."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("node", no_wrap=True)
    for name in ("cores\nfree", "GPUs\nfree", "memory\nGB"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("Python", "Ray", "agent"):
        table.add_column(name, no_wrap=True)
    table.add_column("manylabel", overflow="fold")
    for node in facts.nodes:
        free, total = node.free, node.total
        table.add_row(
            escape(node.address),
            f"{free.cpus:g}/{total.cpus:g}",
            f"{free.gpus:g}/{total.gpus:g}",
            f"{total.memory_bytes / 1e9:.0f}",
            *(["?"] * 4 if node.seen is None else _seen(node.seen)),
        )
    return table


def _seen(seen: Seen) -> list[str]:
    agent = "–" if seen.agent is None else "open" if seen.agent_is_open else "token"
    package = "–" if seen.package is None else escape(seen.package.version)
    return [seen.python, seen.ray or "–", agent, package]


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
        _ratio(summary.headline),
        # As much as 80 columns have room for.
        summary.config.weights.kind.removeprefix("training_"),
    ]


def _interval(interval: Interval) -> str:
    """Its ends, "–" where too few images are held out to know."""
    if interval.low is None or interval.high is None:
        return "–"
    return f"{interval.low:.3f}–{interval.high:.3f}"


def _ratio(headline: Headline) -> str:
    """The value over the baseline's, "–" when that is 0."""
    return "–" if headline.ratio_to_baseline is None else f"{headline.ratio_to_baseline:.2f}"


def _scores(scores: Scores) -> list[str]:
    values = (scores.recall, *list(scores.precision.values())[:1])
    return [f"{value:.3f}" for value in values]


def jobs_table(listed: "Sequence[ListedJob]", now: datetime.datetime) -> Table:
    """Jobs, a row each."""
    table = _plain_table()
    table.add_column("run", overflow="fold", ratio=1, min_width=16)
    for name in ("stage", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("attempt", "progress", "images/s", "GPU-hours", "age"):
        table.add_column(name, justify="right", no_wrap=name != "progress")
    for job in listed:
        table.add_row(
            escape(job.place),
            job.stage,
            job.view.standing,
            str(job.attempt or "–"),
            job_progress(job.status),
            job_rate(job.status),
            f"{job.gpu_seconds / 3600:.2f}",
            age(job.began, now),
        )
    return table
