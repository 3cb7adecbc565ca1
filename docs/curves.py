"""Trains Xception and Inception V3, asynchronously and synchronously, and draws their curves.

    python -m docs.curves [curves-output]

Four runs on the demo's pictures, by one command each: networks of equal size, as many images, as
many updates of as many images. A run that has ended is not trained again. Writes
docs/images/curves.png, and prints the last values; about half an hour on two cores.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from manylabel.eval.store.evaluations import read_summaries
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.storage.errors import DocumentError

PICTURE = Path(__file__).parent / "images" / "curves.png"
MANYLABEL = str(Path(sys.executable).with_name("manylabel"))
BATCH, WORKERS = 32, 2
INK, QUIET, RULE = "#1f2328", "#59636e", "#d1d9e0"


@dataclass(frozen=True)
class Arm:
    """One of the runs."""

    name: str
    title: str
    settings: tuple[str, ...]
    colour: str
    line: str


SHARED = "input_size: 72, width: 0.375, batch_norm_momentum: 0.9"
# With its own padding, valid, Inception V3's maps of small images are a third of Xception's.
NETWORKS = {
    "xception": (
        "Xception, 3.12 M parameters",
        "#0969da",
        f"model={{name: xception, middle_repeats: 8, {SHARED}}}",
    ),
    "inception-v3": (
        "Inception V3, 3.22 M parameters",
        "#bc4c00",
        f"model={{name: inception_v3, variant: 2016, padding: same, {SHARED}}}",
    ),
}
POLICIES = {
    "asynchronous": ("-", ("updates.name=asynchronous", f"input.batch_size={BATCH}")),
    "synchronous": ("--", ("updates.name=synchronous", f"input.batch_size={BATCH // WORKERS}")),
}


def arms() -> list[Arm]:
    """All networks under all policies."""
    return [
        Arm(
            f"{network}-{policy}",
            f"{title}, {policy}",
            (model, *settings),
            colour,
            line,
        )
        for network, (title, colour, model) in NETWORKS.items()
        for policy, (line, settings) in POLICIES.items()
    ]


def train(arm: Arm, dataset: Path, run: Path) -> list[EvaluationSummary]:
    """Its evaluations, oldest first."""
    settings = [part for each in arm.settings for part in ("--set", f"trainer.{each}")]
    _manylabel("train", "demo", "--dataset", str(dataset), "--run", str(run), *settings)
    _manylabel("evaluate", str(run), "--step", "all")
    return read_summaries(run, on_unreadable=_fail)


def draw(curves: Sequence[tuple[Arm, list[EvaluationSummary]]]) -> Figure:
    """All curves, each with its 95% intervals."""
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes: Axes = figure.add_subplot()
    for arm, summaries in curves:
        samples = [summary.provenance.samples for summary in summaries]
        values = [summary.headline.value for summary in summaries]
        intervals = [summary.headline.interval for summary in summaries]
        low = [each.low if each.low is not None else float("nan") for each in intervals]
        high = [each.high if each.high is not None else float("nan") for each in intervals]
        axes.fill_between(samples, low, high, color=arm.colour, alpha=0.1, linewidth=0)
        label = f"{arm.title}: {values[-1]:.3f} [{low[-1]:.3f}, {high[-1]:.3f}]"
        axes.plot(samples, values, arm.line, color=arm.colour, linewidth=2, label=label)
    last = curves[-1][1][-1]
    axes.axhline(last.headline.baseline, color=QUIET, linewidth=1, linestyle=":")
    axes.annotate(
        f"the most frequent labels for every image, {last.headline.baseline:.3f}",
        (0.99, last.headline.baseline),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        color=QUIET,
        size=9,
    )
    axes.set_title(
        f"Weighted MAP@{last.config.k}, {last.counts.images:,} held-out images, "
        f"{last.counts.classes:,} labels; bands: 95% intervals over images",
        loc="left",
        size=11,
        color=INK,
    )
    axes.set_xlabel("training images seen", color=INK)
    axes.set_ylabel(last.headline.name, color=INK)
    axes.set_xlim(0, None)
    axes.set_ylim(0, None)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(
        loc="center right",
        bbox_to_anchor=(1.0, 0.34),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    return figure


def _fail(error: DocumentError) -> None:
    raise error


def _manylabel(*arguments: str) -> None:
    subprocess.run([MANYLABEL, *arguments], check=True)


def main() -> None:
    """Trains, evaluates and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", type=Path, default=Path("curves-output"))
    output: Path = parser.parse_args().output
    dataset = output / "dataset"
    _manylabel("preprocess", "demo", "--output", str(dataset))
    curves = [(arm, train(arm, dataset, output / "runs" / arm.name)) for arm in arms()]
    draw(curves).savefig(PICTURE)
    for arm, summaries in curves:
        headline = summaries[-1].headline
        interval = f"[{headline.interval.low:.3f}, {headline.interval.high:.3f}]"
        print(f"{arm.name}: {headline.value:.3f} {interval}, baseline {headline.baseline:.3f}")


if __name__ == "__main__":
    main()
