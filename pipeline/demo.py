"""The demo: every stage once, on the pictures that the repository ships."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from manylabel.eval.figures import contact_sheet, training_profile
from manylabel.eval.samples import choose_samples
from manylabel.eval.store import predictions_path
from manylabel.pipeline.config import load_settings, override
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.evaluate import evaluate_checkpoints
from manylabel.pipeline.preprocess import preprocess_with
from manylabel.pipeline.tables import evaluation_table
from manylabel.pipeline.train import train_with
from manylabel.storage.dataset import Dataset
from manylabel.trainer.runs.checkpoint import list_checkpoints

CATALOG = Path(__file__).resolve().parent.parent / "examples" / "openclipart" / "labels.csv"


def run_demo(output: Path, overrides: Sequence[str], console: Console) -> None:
    """Preprocesses, trains, evaluates every checkpoint, and draws the results into `output`.

    What an earlier, unfinished demo left there is gone on with.

    Raises:
        CommandError: the pictures are not there.
    """
    if not CATALOG.is_file():
        raise CommandError(f"{CATALOG}: not found; run the demo in a clone of the repository")
    catalog = override("preprocessing.catalog.path", str(CATALOG))
    settings = load_settings("demo", [catalog, *overrides])
    dataset_root, run = str(output / "dataset"), output / "run"

    console.rule("1  preprocess", align="left")
    preprocess_with(settings.preprocessing, dataset_root, console)
    console.rule("2  train", align="left")
    train_with(settings, dataset_root, run, None, console)
    console.rule("3  evaluate every checkpoint", align="left")
    dataset = Dataset.open(dataset_root)
    checkpoints = list_checkpoints(run)
    summaries = evaluate_checkpoints(run, checkpoints, dataset, settings.eval, console)

    console.rule("4  results", align="left")
    profile, sheet = output / "training_profile.png", output / "contact_sheet.png"
    training_profile(summaries, profile)
    contact_sheet(choose_samples(dataset, predictions_path(run, checkpoints[-1].step)), sheet)
    console.print(evaluation_table(summaries))
    console.print(
        f"{profile}  the metric over training, with the baseline\n"
        f"{sheet}  held-out pictures, their labels and what was predicted\n\n"
        "Next:\n"
        f"  manylabel export {run} --output {output / 'model'}\n"
        f"  tensorboard --logdir {run}\n"
        "  manylabel presets show demo > mine.yaml, and on with your own images: "
        "docs/getting-started.md",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
