"""The commands that make again what a page misses, as a shell takes them."""

import shlex

from manylabel.deploy.dashboard.errors import UNREADABLE
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.states import newest_summary
from manylabel.eval.store.names import EvaluationName


def evaluate_new(store: Store, run: str) -> str:
    """What evaluates what is new of a run and rebuilds its history."""
    if store.is_scored(run):
        return _score(store, run, None)
    return shlex.join(["manylabel", "evaluate", str(store.root / run), "--step", "new"])


def evaluate_command(store: Store, name: EvaluationName) -> str:
    """What makes an evaluation, and whatever belongs to it, again."""
    if store.is_scored(name.run):
        return _score(store, name.run, name.step)
    return shlex.join(
        ["manylabel", "evaluate", str(store.root / name.run), "--step", str(name.step)]
    )


def review_command(
    store: Store, candidate: EvaluationName, reference: EvaluationName, margin: float = 0.0
) -> str:
    """What writes the review of a checkpoint.

    Args:
        margin: Of the review; one with another margin is another review.
    """
    run = str(store.root / candidate.run)
    words = ["manylabel", "review", run, str(candidate.step), "--against", str(reference)]
    return shlex.join([*words, *(("--margin", f"{margin:g}") if margin else ())])


def runs_command(store: Store) -> str:
    """What lists the runs."""
    return shlex.join(["manylabel", "runs", str(store.root)])


def _score(store: Store, run: str, step: int | None) -> str:
    """What scores predictions of another tool again; words in capitals where nobody knows."""
    try:
        newest = newest_summary(store, run, step)
    except UNREADABLE:
        newest = None
    source, dataset, samples = "PREDICTIONS", "DATASET", 0
    if newest is not None:
        source, dataset = newest.provenance.checkpoint, newest.dataset.root
        step, samples = newest.provenance.step, newest.provenance.samples
    words = ["manylabel", "score", source, "--dataset", dataset, "--run", str(store.root / run)]
    words += ["--step", "N" if step is None else str(step)]
    return shlex.join([*words, *(("--samples", str(samples)) if samples else ())])
