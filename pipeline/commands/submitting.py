"""Commands that give jobs to a Ray cluster."""

from pathlib import Path
from typing import Annotated

import typer

from manylabel.pipeline.commands.delivery import (
    Delivery,
    DryRun,
    Follow,
    On,
    Retry,
    TrustOpen,
    submit,
)
from manylabel.pipeline.commands.options import (
    Address,
    Config,
    EvalOverrides,
    Overrides,
    Place,
    local_path,
    location,
    run_path,
)
from manylabel.storage.jobs import JobStage


def preprocess(
    config: Config,
    output: Annotated[
        str, typer.Option(metavar="DIR", parser=location, help="Where the dataset goes.")
    ],
    catalog: Annotated[
        str | None,
        typer.Option(metavar="PATH", parser=location, help="Sets preprocessing.catalog.path."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a dataset of other settings there.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every byte of the shards.")
    ] = False,
    retry_rejected: Annotated[
        bool, typer.Option("--retry-rejected", help="Look again at rejected images.")
    ] = False,
    address: Address = None,
    on: On = None,
    follow: Follow = False,
    dry_run: DryRun = False,
    retry: Retry = 3,
    trust_open: TrustOpen = None,
    overrides: Overrides = None,
) -> int:
    """Submit `preprocess`: pictures are checked and shards written on all nodes."""
    from manylabel.pipeline.config import load_settings, override
    from manylabel.pipeline.submission.request import SETTINGS, absolute, cluster_settings
    from manylabel.pipeline.submission.submit import Folders

    catalogs = [] if catalog is None else [override("preprocessing.catalog.path", catalog)]
    settings = load_settings(config, [*catalogs, *(overrides or [])])
    tree = cluster_settings(settings, JobStage.PREPROCESS)
    sections = tree["preprocessing"]["catalog"], tree["preprocessing"]["heldout"]["catalog"]
    named = [
        (section, key)
        for section in sections
        for key in ("path", "image_root")
        if section is not None and section[key]
    ]
    for section, key in named:
        section[key] = absolute(section[key])
    place = absolute(output)
    flags = {"--overwrite": overwrite, "--verify": verify, "--retry-rejected": retry_rejected}
    arguments = ["preprocess", SETTINGS, "--output", place]
    return submit(
        JobStage.PREPROCESS,
        place,
        [*arguments, *(flag for flag, given in flags.items() if given)],
        tree,
        Folders((place,), _local(*(section[key] for section, key in named))),
        Delivery(address, on, follow, dry_run, retry, trust_open),
    )


def train(
    config: Config,
    dataset: Annotated[
        str, typer.Option(metavar="DIR|URI", parser=location, help="Made by preprocess.")
    ],
    run: Annotated[
        Path,
        typer.Option(metavar="DIR", parser=run_path, help="The run; goes on if it exists."),
    ],
    address: Address = None,
    on: On = None,
    follow: Follow = False,
    dry_run: DryRun = False,
    retry: Retry = 3,
    trust_open: TrustOpen = None,
    overrides: Overrides = None,
) -> int:
    """Submit `train`: workers and parameter shards on all nodes that have room."""
    from manylabel.pipeline.config import load_settings
    from manylabel.pipeline.submission.request import SETTINGS, absolute, cluster_settings
    from manylabel.pipeline.submission.submit import Folders
    from manylabel.trainer.networks.keras_names import is_application_name
    from manylabel.trainer.runs.directory import is_described

    settings = load_settings(config, overrides or [])
    place, data = absolute(str(run)), absolute(dataset)
    tree = cluster_settings(settings, JobStage.TRAIN)
    weights = tree["trainer"]["model"]["initial_weights"]
    if weights and (is_application_name(weights) or is_described(Path(place))):
        weights = None  # downloaded; or a run that goes on, which reads them no more
    return submit(
        JobStage.TRAIN,
        place,
        ["train", SETTINGS, "--dataset", data, "--run", place],
        tree,
        Folders((place,), _local(data, weights)),
        Delivery(address, on, follow, dry_run, retry, trust_open),
    )


def evaluate(
    run: Place,
    step: Annotated[
        str, typer.Option(metavar="N|latest|best|new|all", help="Which checkpoints.")
    ] = "latest",
    dataset: Annotated[
        str | None,
        typer.Option(metavar="DIR|URI", parser=location, help="Where the run's dataset is now."),
    ] = None,
    address: Address = None,
    on: On = None,
    follow: Follow = False,
    dry_run: DryRun = False,
    retry: Retry = 3,
    trust_open: TrustOpen = None,
    overrides: EvalOverrides = None,
) -> int:
    """Submit `evaluate`: on one node, with a GPU where the cluster has any."""
    from manylabel.pipeline.submission.request import absolute
    from manylabel.pipeline.submission.submit import Folders

    place = absolute(str(run))
    arguments = ["evaluate", place, "--step", step]
    read: tuple[str, ...] = ()
    if dataset is not None:
        arguments += ["--dataset", absolute(dataset)]
        read = _local(absolute(dataset))
    for each in overrides or []:
        key, _, value = each.partition("=")
        arguments += ["--set", f"{key}={absolute(value)}" if key == "eval.weights.csv" else each]
    return submit(
        JobStage.EVALUATE,
        place,
        arguments,
        None,
        Folders((place,), read),
        Delivery(address, on, follow, dry_run, retry, trust_open),
    )


def export(
    run: Place,
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
    address: Address = None,
    on: On = None,
    follow: Follow = False,
    dry_run: DryRun = False,
    retry: Retry = 3,
    trust_open: TrustOpen = None,
) -> int:
    """Submit `export`: write a model on the shared folder."""
    from manylabel.pipeline.submission.request import absolute
    from manylabel.pipeline.submission.submit import Folders

    place, model = absolute(str(run)), absolute(str(output))
    arguments = ["export", place, "--output", model, "--top-k", str(top_k)]
    if step is not None:
        arguments += ["--step", str(step)]
    return submit(
        JobStage.EXPORT,
        place,
        arguments,
        None,
        Folders((place, model)),
        Delivery(address, on, follow, dry_run, retry, trust_open),
    )


def _local(*paths: str | None) -> tuple[str, ...]:
    return tuple(path for path in paths if path is not None and "://" not in path)
