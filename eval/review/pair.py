"""Which two evaluations are held against each other, and whether they can be."""

import glob
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manylabel.eval.errors import EvaluationError
from manylabel.eval.settings import NO_RESULT
from manylabel.eval.store.evaluations import evaluated_steps, read_summaries
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.storage.errors import DocumentError

_DIGITS = 12


class NotComparable(EvaluationError):
    """Two evaluations are of other held-out images or other settings: no difference means
    anything. The text says what differs and what to do."""


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, and the run that it lies in.

    Attributes:
        run_dir: Directory of the run, whose name is the run's.
    """

    run_dir: Path
    summary: EvaluationSummary

    @property
    def name(self) -> EvaluationName:
        """Its RUN@STEP."""
        return EvaluationName(self.run_dir.name, self.summary.provenance.step)

    @property
    def place(self) -> tuple[Path, int, str]:
        """Run, step and settings, as the readers of `store.evaluations` take them."""
        return self.run_dir, self.summary.provenance.step, self.summary.settings

    def remade_by(self, *settings: str) -> str:
        """The command that makes it again, with settings such as "eval.k=10" on top."""
        source, step = self.summary.provenance.checkpoint, self.summary.provenance.step
        if Path(source).name.isdecimal():  # A checkpoint's folder.
            words = ["evaluate", str(self.run_dir), "--step", str(step)]
        else:
            words = ["score", source, "--dataset", self.summary.dataset.root]
            words += ["--run", str(self.run_dir), "--step", str(step)]
            words += ["--samples", str(self.summary.provenance.samples)]
        words += [word for setting in settings for word in ("--set", setting)]
        return f"`manylabel {shlex.join(words)}`"


@dataclass(frozen=True)
class Pair:
    """Two comparable evaluations.

    Attributes:
        candidate: Differences are this one minus `reference`.
    """

    candidate: Evaluated
    reference: Evaluated


def choose_pair(
    candidate: tuple[Path, int | None],
    reference: tuple[Path, int | None],
    settings: str | None = None,
) -> Pair:
    """The newest evaluations of two checkpoints that can be held against each other.

    Args:
        candidate: Directory of a run and a step; None: its newest that was evaluated.
        reference: Likewise.
        settings: Name of the settings of both, or its beginning; None: any that both have.

    Raises:
        EvaluationError: there is no such evaluation, or it cannot be read.
        NotComparable: they are of other held-out images or of other settings.
    """
    first = _evaluations(*candidate, settings)
    second = _evaluations(*reference, settings)
    for one in first:
        for other in second:
            if not _differences(one.summary, other.summary):
                return Pair(one, other)
    raise _not_comparable(first[0], second[0])


def _evaluations(run_dir: Path, step: int | None, settings: str | None) -> list[Evaluated]:
    """Those of one checkpoint, newest first; at least one."""
    if step is None:
        step = max(_steps(run_dir, settings), default=None)
    if step is None:
        raise _not_there(run_dir, None, settings)
    unreadable: list[DocumentError] = []
    found = [
        Evaluated(run_dir, summary)
        for summary in read_summaries(run_dir, unreadable.append, step)
        if summary.settings.startswith(settings or "")
    ]
    if found:
        return found[::-1]
    if unreadable:
        command = f"run `manylabel evaluate {shlex.quote(str(run_dir))} --step {step}`"
        raise EvaluationError(f"{unreadable[0]}: {command}") from unreadable[0]
    raise _not_there(run_dir, step, settings)


def _not_there(run_dir: Path, step: int | None, settings: str | None) -> EvaluationError:
    if not run_dir.is_dir():
        return EvaluationError(f"{run_dir}: expected the directory of a run, found none")
    what = "an evaluation" if settings is None else f"an evaluation with settings {settings}"
    at = "" if step is None else f" of step {step}"
    there = ", ".join(map(str, _steps(run_dir, settings)))
    words = ["evaluate", str(run_dir), *(() if step is None else ("--step", str(step)))]
    return EvaluationError(
        f"{run_dir}: expected {what}{at}, found {f'those of {there}' if there else 'none'}; run "
        f"`manylabel {shlex.join(words)}`"
    )


def _steps(run_dir: Path, settings: str | None) -> list[int]:
    return evaluated_steps(run_dir, f"{glob.escape(settings or '')}*")


def _not_comparable(one: Evaluated, other: Evaluated) -> NotComparable:
    names = f"{one.name} and {other.name} are not comparable"
    digests = [each.summary.dataset.content_digest for each in (one, other)]
    if digests[0] != digests[1]:
        return NotComparable(
            f"{names}: their held-out images differ (dataset content {digests[0][:_DIGITS]} and "
            f"{digests[1][:_DIGITS]}); evaluate models that were trained on one dataset, or score "
            "the predictions of both on it with `manylabel score`"
        )
    told = _differences(one.summary, other.summary)
    wanted = [f"eval.{key}={_shown(value)}" for key, _, value in told]
    return NotComparable(
        f"{names}: their settings differ ("
        + ", ".join(f"{key} {_shown(a)} and {_shown(b)}" for key, a, b in told)
        + f"); evaluate one as the other: {one.remade_by(*wanted)}"
    )


def _differences(one: EvaluationSummary, other: EvaluationSummary) -> list[tuple[str, Any, Any]]:
    """Each setting that changes results and differs, with both values; empty: comparable."""
    if one.dataset.content_digest != other.dataset.content_digest:
        return [("dataset", one.dataset.content_digest, other.dataset.content_digest)]
    if one.settings == other.settings:
        return []
    trees = [each.config.model_dump(mode="json", exclude=NO_RESULT) for each in (one, other)]
    found = [(key, a, b) for (key, a), (_, b) in zip(*map(_flat, trees), strict=True) if a != b]
    # A table of weights counts by its values, not by where it lies.
    path = one.config.weights.csv
    return found or [("weights.csv", f"{path} as it was", path)]


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: object) -> str:
    """As `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value)
