"""Commands that give jobs to a Ray cluster."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manylabel.pipeline.commands.options import (
    Address,
    Config,
    EvalOverrides,
    Overrides,
    Place,
    local_path,
    location,
    report,
    run_path,
)
from manylabel.storage.jobs import JobStage

if TYPE_CHECKING:
    from manylabel.pipeline.submission.submit import Folders

On = Annotated[
    Path | None,
    typer.Option(
        "--on",
        metavar="FILE",
        parser=local_path,
        help="Instead: a cluster that Kubernetes makes for the job, as this YAML file says.",
    ),
]
Follow = Annotated[
    bool, typer.Option("--follow", help="Show what the job prints, and exit with its exit code.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check all that can be, and show what would be submitted.")
]
Retry = Annotated[
    int,
    typer.Option(
        "--retry",
        min=0,
        max=1000,
        metavar="N",
        help="Further attempts where one is lost with a node or a process; never after an error "
        "of settings or data.",
    ),
]
TrustOpen = Annotated[
    str | None,
    typer.Option(
        metavar="HOST", help="Submit although this host's cluster asks nobody for a token."
    ),
]


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
    catalog_tree = tree["preprocessing"]["catalog"]
    for key in ("path", "image_root"):
        if catalog_tree.get(key):
            catalog_tree[key] = absolute(catalog_tree[key])
    place = absolute(output)
    flags = {"--overwrite": overwrite, "--verify": verify, "--retry-rejected": retry_rejected}
    arguments = ["preprocess", SETTINGS, "--output", place]
    return _submit(
        JobStage.PREPROCESS,
        place,
        [*arguments, *(flag for flag, given in flags.items() if given)],
        tree,
        Folders((place,), _local(catalog_tree["path"], catalog_tree.get("image_root"))),
        (address, on, follow, dry_run, retry, trust_open),
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

    settings = load_settings(config, overrides or [])
    place, data = absolute(str(run)), absolute(dataset)
    return _submit(
        JobStage.TRAIN,
        place,
        ["train", SETTINGS, "--dataset", data, "--run", place],
        cluster_settings(settings, JobStage.TRAIN),
        Folders((place,), _local(data)),
        (address, on, follow, dry_run, retry, trust_open),
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
    return _submit(
        JobStage.EVALUATE,
        place,
        arguments,
        None,
        Folders((place,), read),
        (address, on, follow, dry_run, retry, trust_open),
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
    return _submit(
        JobStage.EXPORT,
        place,
        arguments,
        None,
        Folders((place, model)),
        (address, on, follow, dry_run, retry, trust_open),
    )


_Choice = tuple[str | None, Path | None, bool, bool, int, str | None]


def _submit(
    stage: JobStage,
    place: str,
    arguments: Sequence[str],
    settings: dict[str, Any] | None,
    folders: "Folders",
    choice: _Choice,
) -> int:
    from manylabel.cluster.jobs_api import JobsApi
    from manylabel.pipeline.errors import CommandError
    from manylabel.pipeline.submission.following import follow as follow_job
    from manylabel.pipeline.submission.request import JobRequest
    from manylabel.pipeline.submission.submit import Submitter
    from manylabel.storage.provenance import code_version

    address, on, follow, dry_run, retry, trust_open = choice
    if on is None:
        address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or None
    if "://" in place:
        raise CommandError(
            f"{place}: expected a folder that every node shares, received a URI; jobs keep their "
            "records there, and buckets are not supported for that yet"
        )
    if (address is None) == (on is None):
        raise CommandError(
            "expected --address http://HEAD:8265 of a Ray cluster, or --on kubernetes.yaml; "
            f"received {'neither' if address is None else 'both'}"
        )
    request = JobRequest(
        stage=stage,
        place=place,
        arguments=tuple(arguments),
        settings=settings,
        retries=retry,
        address=address or "",
        code_version=code_version(),
    )
    if on is not None:
        from manylabel.pipeline.submission.kubernetes import submit_on_kubernetes

        typer.echo(
            submit_on_kubernetes(request, on, [*folders.shared, *folders.read], dry_run=dry_run)
        )
        return 0
    submitter = Submitter(
        request,
        folders,
        trusted=trust_open,
        on_finding=lambda finding: typer.echo(f"note: {finding.line()}", err=True),
    )
    if dry_run:
        from manylabel.pipeline.submission.submit import described

        typer.echo(described(submitter.submission(0, submitter.check()), request))
        return 0
    submitted = submitter.submit()
    quoted = shlex.quote(place)
    where = f"{submitted.submission} on {request.address}"
    if submitted.found:
        typer.echo(f"already running: {where}{'; following it' if follow else ''}")
    else:
        typer.echo(f"submitted: {where}{' with our code' if submitted.with_code else ''}")
    if not follow:
        for command in (f"status {quoted}", f"logs {quoted} --stage {stage} -f", f"stop {quoted}"):
            typer.echo(f"  manylabel {command}")
        return 0
    api = JobsApi(request.address)
    code = follow_job(api, Path(place), stage, submitted.submission, typer.echo)
    if code:
        report(f"the job ended with exit code {code}; manylabel status {quoted}")
    return code


def _local(*paths: str | None) -> tuple[str, ...]:
    return tuple(path for path in paths if path is not None and "://" not in path)
