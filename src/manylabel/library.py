"""manylabel from Python: a function for each stage, with the results of the command line.

    from manylabel.library import evaluate, preprocess, train

docs/library.md has a whole script, and what a call leaves of your process as it was. A call prints
nothing, unless `on_event` does. What the command line says in a line, with exit code 2 or 75, is a
`ManylabelError` here; what it says when it is told to stop is the text of a `KeyboardInterrupt`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from manylabel.eval.config import EvalConfig
from manylabel.pipeline.call_arguments import (
    local_path,
    location,
    run_path,
    section_of,
    whole_number,
    whole_settings,
)
from manylabel.pipeline.config import Settings, load_settings
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.events import Event, OnEvent
from manylabel.pipeline.one_call import one_call
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.storage.errors import ManylabelError, Transient
from manylabel.storage.problems import shown
from manylabel.trainer.config import TrainerConfig

if TYPE_CHECKING:  # What these load takes seconds.
    from manylabel.eval.store.summary import EvaluationSummary
    from manylabel.pipeline.predict import LabelsReport
    from manylabel.preprocessing.report import PreprocessingReport
    from manylabel.trainer.reports import TrainingReport

__all__ = [
    "EvalConfig",
    "ManylabelError",
    "PreprocessingConfig",
    "Settings",
    "TrainerConfig",
    "Transient",
    "evaluate",
    "export",
    "load_settings",
    "predict",
    "preprocess",
    "train",
]


def _silent(event: Event) -> None:
    pass


def preprocess(
    settings: Settings | PreprocessingConfig | str | Path,
    output: str | Path,
    *,
    overwrite: bool = False,
    verify: bool = False,
    retry_rejected: bool = False,
    on_event: OnEvent = _silent,
) -> "PreprocessingReport":
    """Makes a dataset, or what is missing of it: `manylabel preprocess`.

    Args:
        settings: a path is that of a YAML file, or the name of a preset.
        output: the dataset's directory, or a URI.
        overwrite: replace a dataset of other settings that is there.
        verify: read every byte of the shards that are there, and write damaged ones again.
        retry_rejected: look again at images whose files were missing or broken.
        on_event: told how far it is, also from another thread.

    Raises:
        ManylabelError: settings, catalog or output cannot be used. Images that cannot are no error:
            the report counts them.
        KeyboardInterrupt: it was told to stop; the same call goes on where it was.
    """
    with one_call():
        from manylabel.pipeline.preprocess import preprocess_with

        given = whole_settings(settings, PreprocessingConfig)
        return preprocess_with(
            section_of(given, "preprocessing", PreprocessingConfig),
            location("output", output),
            on_event,
            overwrite=overwrite,
            verify=verify,
            retry_rejected=retry_rejected,
        )


def train(
    settings: Settings | TrainerConfig | str | Path,
    dataset: str | Path,
    run: str | Path,
    *,
    address: str | None = None,
    on_event: OnEvent = _silent,
) -> "TrainingReport":
    """Trains a run to its end, from its newest intact checkpoint if it has one: `manylabel train`.

    Args:
        settings: as `preprocess`. `evaluate` takes its own from those that the run was trained
            with, and the defaults where that is a TrainerConfig alone.
        dataset: made by `preprocess`.
        run: the run's directory.
        address: of a Ray cluster. Without it, the cluster that this process has joined already by
            ray.init; else one on this machine, for as long as the call takes.

    Raises:
        ManylabelError: training cannot begin or go on; Transient as well where the same call may do
            better another time.
        KeyboardInterrupt: it was told to stop; the run is saved, and the same call goes on.
    """
    with one_call():
        from manylabel.pipeline.train import train_with

        given = whole_settings(settings, TrainerConfig)
        if not isinstance(address, str | None):
            raise CommandError(f"address: expected a str, received {shown(address)}")
        return train_with(
            given, location("dataset", dataset), run_path("run", run), address, on_event
        )


def evaluate(
    run: str | Path,
    step: int | str = "latest",
    *,
    dataset: str | Path | None = None,
    settings: Settings | EvalConfig | None = None,
    on_event: OnEvent = _silent,
) -> "list[EvaluationSummary]":
    """Scores checkpoints on the held-out images: `manylabel evaluate`.

    Args:
        step: of a checkpoint; or latest, best, new, all.
        dataset: where the run's is now, if it was moved.
        settings: instead of the run's own; of all settings their section `eval`.

    Returns:
        One for each checkpoint, oldest first; `headline.value` is its weighted MAP@100. What was
        evaluated before is not computed again.

    Raises:
        ManylabelError: there is no such run, checkpoint or dataset, or it cannot be used.
    """
    with one_call():
        from manylabel.pipeline.evaluate import evaluate_run, evaluate_with

        place = run_path("run", run)
        root = None if dataset is None else location("dataset", dataset)
        if settings is None:
            return evaluate_run(place, str(step), root, (), on_event)
        config = section_of(settings, "eval", EvalConfig)
        return evaluate_with(config, place, str(step), root, on_event)


def predict(
    model: str | Path,
    images: str | Path,
    output: str | Path = "labels.parquet",
    *,
    step: int | None = None,
    top_k: int | None = None,
    batch_size: int = 32,
    on_event: OnEvent = _silent,
) -> "LabelsReport":
    """Writes the labels of new images to a Parquet or CSV file: `manylabel predict`.

    Args:
        model: directory of an exported model or of a run, or a folder of runs: its champion.
        images: a folder, with its folders; or one image.
        step: which checkpoint of a run; None: the newest intact one.
        top_k: labels of an image; None: as many as an exported model returns, 5 of a run.
        batch_size: images at a time; memory grows with it.

    Raises:
        ManylabelError: there is no such model or image, or no image could be seen.
    """
    with one_call():
        from manylabel.pipeline.predict import predict_labels

        return predict_labels(
            local_path("model", model),
            local_path("images", images),
            local_path("output", output),
            None if step is None else whole_number("step", step),
            None if top_k is None else whole_number("top_k", top_k, least=1),
            whole_number("batch_size", batch_size, least=1),
            on_event,
        )


def export(run: str | Path, output: str | Path, *, step: int | None = None, top_k: int = 5) -> Path:
    """Writes a SavedModel, and the network as .keras: `manylabel export`.

    Args:
        run: its directory, or a folder of runs: its champion.
        output: a new or empty directory.
        step: which checkpoint; None: the newest intact one.
        top_k: labels that the model returns for an image.

    Returns:
        The SavedModel's directory.

    Raises:
        ManylabelError: there is no such run or checkpoint, or `output` holds something.
        KeyboardInterrupt: it was told to stop; there is nothing of the export.
    """
    with one_call():
        from manylabel.pipeline.export import export_run

        return export_run(
            run_path("run", run),
            local_path("output", output),
            None if step is None else whole_number("step", step),
            whole_number("top_k", top_k, least=1),
        )
