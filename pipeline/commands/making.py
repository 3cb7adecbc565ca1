"""Commands that make datasets, runs and models."""

from pathlib import Path
from typing import Annotated

import typer

from manylabel.pipeline.commands.options import (
    Config,
    Overrides,
    Verbose,
    local_path,
    location,
    new_terminal,
    run_path,
)
from manylabel.pipeline.stopping import told_to_stop_with
from manylabel.pipeline.verbose import verbose_output
from manylabel.storage.jobs import JobStage


def preprocess(
    config: Config,
    output: Annotated[
        str, typer.Option(metavar="DIR|URI", parser=location, help="Where the dataset goes.")
    ],
    catalog: Annotated[
        str | None,
        typer.Option(metavar="PATH", parser=location, help="Sets preprocessing.catalog.path."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a dataset of other settings there.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Read every byte of the shards; write damaged ones again."),
    ] = False,
    retry_rejected: Annotated[
        bool,
        typer.Option("--retry-rejected", help="Look again at images whose files were rejected."),
    ] = False,
    verbose: Verbose = False,
    overrides: Overrides = None,
) -> None:
    """Turn a catalog of labelled images into checked TFRecord shards."""
    from manylabel.pipeline.config import load_settings, override

    catalogs = [] if catalog is None else [override("preprocessing.catalog.path", catalog)]
    settings = load_settings(config, [*catalogs, *(overrides or [])])

    from manylabel.pipeline.preprocess import preprocess_with

    terminal = new_terminal()
    place = None if "://" in output else Path(output)
    with verbose_output(verbose, place, JobStage.PREPROCESS):
        report = preprocess_with(
            settings.preprocessing,
            output,
            terminal.on_event,
            overwrite=overwrite,
            verify=verify,
            retry_rejected=retry_rejected,
        )
    terminal.show_dataset(report)


def train(
    config: Config,
    dataset: Annotated[
        str, typer.Option(metavar="DIR|URI", parser=location, help="Made by preprocess.")
    ],
    run: Annotated[
        Path,
        typer.Option(metavar="DIR", parser=run_path, help="The run; goes on if it exists."),
    ],
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster, host:port or auto; without it, this machine."),
    ] = None,
    verbose: Verbose = False,
    overrides: Overrides = None,
) -> None:
    """Train a model; the same command resumes from the newest intact checkpoint."""
    from manylabel.pipeline.config import load_settings

    settings = load_settings(config, overrides or [])

    from manylabel.pipeline.train import train_with

    terminal = new_terminal()
    with verbose_output(verbose, run, JobStage.TRAIN):
        report = train_with(settings, dataset, run, address, terminal.on_event)
    terminal.show_training(report)


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="[RUN|ROOT]",
            parser=local_path,
            help="Directory of a run, or a folder of runs: its champion.",
        ),
    ] = Path("runs"),
    *,
    output: Annotated[
        Path, typer.Option(metavar="DIR", parser=local_path, help="Where the model goes.")
    ],
    step: Annotated[
        int | None, typer.Option(help="Checkpoint; without it, the newest intact one.")
    ] = None,
    top_k: Annotated[
        int, typer.Option(min=1, metavar="K", help="Labels that the model returns for an image.")
    ] = 5,
) -> None:
    """Write a SavedModel (image bytes in, labels and scores out) and the network as .keras."""
    from manylabel.pipeline.export import export_run

    terminal = new_terminal()
    terminal.show_export(export_run(run, output, step, top_k, terminal.on_event))


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            parser=local_path,
            help="Directory of an exported model or of a run, or a folder of runs: its champion.",
        ),
    ],
    images: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", parser=local_path, help="Folder of images, with its folders; or one."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(metavar="FILE", parser=local_path, help="Labels, .parquet or .csv."),
    ] = Path("labels.parquet"),
    step: Annotated[
        int | None, typer.Option(help="Checkpoint of a run; without it, the newest intact one.")
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="K", help="Labels of an image; 5, or what the model was exported with."
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Images at a time; memory grows with it.")
    ] = 32,
) -> None:
    """Write the labels of new images to a Parquet or CSV file."""
    terminal = new_terminal()
    with told_to_stop_with("stopped, and nothing is written; the same command begins anew"):
        from manylabel.pipeline.predict import predict_labels

        labels = predict_labels(model, images, output, step, top_k, batch_size, terminal.on_event)
    terminal.show_labels(labels)


def demo(
    output: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            parser=local_path,
            help="Results; an unfinished demo there goes on.",
        ),
    ] = Path("demo-output"),
    overrides: Overrides = None,
) -> None:
    """Do everything on the pictures that come with the project; a few minutes on two cores."""
    terminal = new_terminal()
    with told_to_stop_with("stopped; the same command goes on where it was"):
        from manylabel.pipeline.demo import run_demo

        done = run_demo(output, overrides or [], terminal.on_event)
    terminal.show_demo(done)
