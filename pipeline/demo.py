"""The demo: every stage once, on the pictures that the repository ships."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from manylabel.eval.figures import contact_sheet, training_profile
from manylabel.eval.samples import choose_samples
from manylabel.eval.store.evaluations import predictions_path
from manylabel.eval.store.promotions import newest_promotion
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.pipeline.config import load_settings, override
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.evaluate import evaluate_checkpoints
from manylabel.pipeline.events import OnEvent, PartBegan, Preprocessed, Trained
from manylabel.pipeline.preprocess import preprocess_with
from manylabel.pipeline.promote import promote
from manylabel.pipeline.review import review_run
from manylabel.pipeline.train import train_with
from manylabel.storage.dataset import Dataset
from manylabel.trainer.runs.checkpoint import CheckpointInfo, list_checkpoints

CATALOG = Path(__file__).resolve().parent.parent / "examples" / "openclipart" / "labels.csv"


@dataclass(frozen=True)
class DemoReport:
    """What a demo made.

    Attributes:
        output: Its directory, as the user named it; the paths below are in it.
        run: The trained run.
        profile: Picture of the metric over training.
        sheet: Picture of held-out images with their labels and predictions.
        report: The newest checkpoint reviewed against the champion, as a page of its own.
        summaries: Of every checkpoint, oldest first.
    """

    output: Path
    run: Path
    profile: Path
    sheet: Path
    report: Path
    summaries: list[EvaluationSummary]


def run_demo(output: Path, overrides: Sequence[str], on_event: OnEvent) -> DemoReport:
    """Preprocesses, trains, evaluates every checkpoint, and draws the results into `output`.

    What an earlier, unfinished demo left there is gone on with.

    Raises:
        CommandError: the pictures are not there.
    """
    catalog = override("preprocessing.catalog.path", str(CATALOG))
    settings = load_settings("demo", [catalog, *overrides])
    if settings.preprocessing.catalog.path == str(CATALOG) and not CATALOG.is_file():
        raise CommandError(
            f"{CATALOG}: not found: an installation has no pictures; run `make demo` in a clone or "
            "in the source distribution, or name the pictures of one by "
            "--set preprocessing.catalog.path=.../examples/openclipart/labels.csv"
        )
    dataset_root, run = str(output / "dataset"), output / "run"

    on_event(PartBegan(1, "preprocess"))
    on_event(Preprocessed(preprocess_with(settings.preprocessing, dataset_root, on_event)))
    on_event(PartBegan(2, "train"))
    on_event(Trained(train_with(settings, dataset_root, run, None, on_event)))
    on_event(PartBegan(3, "evaluate every checkpoint"))
    dataset = Dataset.open(dataset_root)
    checkpoints = list_checkpoints(run)
    summaries = evaluate_checkpoints(run, checkpoints, dataset, settings.eval, on_event)

    on_event(PartBegan(4, "results"))
    profile, sheet = output / "training_profile.png", output / "contact_sheet.png"
    training_profile(summaries, profile)
    contact_sheet(choose_samples(dataset, predictions_path(run, checkpoints[-1].step)), sheet)
    report = output / "review.html"
    _choose_champion(run, checkpoints, on_event)
    review_run(run, checkpoints[-1].step, None, 0.0, report)
    return DemoReport(output, run, profile, sheet, report, summaries)


def _choose_champion(run: Path, checkpoints: Sequence[CheckpointInfo], on_event: OnEvent) -> None:
    """The first checkpoint that has learnt something, so that there is one to compare with."""
    if newest_promotion(run.parent) is not None:
        return
    first = next((each for each in checkpoints if each.step > 0), checkpoints[-1])
    promote(run, first.step, "Demo: the first one after the untrained network", (), on_event)
