"""Gives one job to a Ray cluster, as the options say that all commands of `submit` share."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manylabel.pipeline.commands.options import local_path, report
from manylabel.pipeline.stopping import told_to_stop_with
from manylabel.pipeline.streams import check_written
from manylabel.storage.jobs import JobStage

if TYPE_CHECKING:
    from manylabel.pipeline.submission.request import JobRequest
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


@dataclass(frozen=True)
class Delivery:
    """Where a job goes, and how: the options that all commands here have."""

    address: str | None
    on: Path | None
    follow: bool
    dry_run: bool
    retry: int
    trust_open: str | None

    def head(self) -> str | None:
        """The address of the Ray cluster; None where Kubernetes makes one.

        Raises:
            CommandError: there is none, or two places.
        """
        from manylabel.pipeline.errors import CommandError

        address = self.address
        if self.on is None:
            address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or None
        if (address is None) == (self.on is None):
            raise CommandError(
                "expected --address http://HEAD:8265 of a Ray cluster, or --on kubernetes.yaml; "
                f"received {'neither' if address is None else 'both'}"
            )
        return address


def submit(
    stage: JobStage,
    place: str,
    arguments: Sequence[str],
    settings: dict[str, Any] | None,
    folders: "Folders",
    delivery: Delivery,
) -> int:
    """Submits the job, and follows it where that is asked; the exit code.

    Args:
        place: absolute path of the run's directory, or the dataset's.
        arguments: of the local command.
        settings: for its settings file; None for commands that read a run's own.
        folders: what the nodes must see.
    """
    from manylabel.pipeline.errors import CommandError
    from manylabel.pipeline.submission.request import JobRequest
    from manylabel.storage.provenance import code_version

    if "://" in place:
        raise CommandError(
            f"{place}: expected a folder that every node shares, received a URI; jobs keep their "
            "records there, and buckets are not supported for that yet"
        )
    for each in (place, *arguments, *folders.read):
        if any("\ud800" <= letter <= "\udfff" for letter in each):  # It could not travel.
            raise CommandError(f"expected a path in UTF-8, received {each!r}; rename it")
    address = delivery.head()
    request = JobRequest(
        stage=stage,
        place=place,
        arguments=tuple(arguments),
        settings=settings,
        retries=delivery.retry,
        address=address or "",
        code_version=code_version(),
    )
    if delivery.on is not None:
        from manylabel.pipeline.submission.kubernetes import submit_on_kubernetes

        seen = [*folders.shared, *folders.read]
        typer.echo(submit_on_kubernetes(request, delivery.on, seen, dry_run=delivery.dry_run))
        if delivery.dry_run:
            check_written()
        return 0
    with told_to_stop_with("stopped; the same command submits it, or finds it at work"):
        return _to_cluster(request, folders, delivery)


def _to_cluster(request: "JobRequest", folders: "Folders", delivery: Delivery) -> int:
    from manylabel.pipeline.submission.submit import Submitter, described

    submitter = Submitter(
        request,
        folders,
        trusted=delivery.trust_open,
        on_finding=lambda finding: typer.echo(f"note: {finding.line()}", err=True),
    )
    if delivery.dry_run:
        typer.echo(described(submitter.submission(0, submitter.check()), request))
        check_written()
        return 0
    submitted = submitter.submit()
    where = f"{submitted.submission} on {request.address}"
    if submitted.found:
        typer.echo(f"already running: {where}{'; following it' if delivery.follow else ''}")
    else:
        typer.echo(f"submitted: {where}{' with our code' if submitted.with_code else ''}")
    if delivery.follow:
        return _follow(request, submitted.submission)
    place = shlex.quote(request.place)
    for command in (f"status {place}", f"logs {place} --stage {request.stage} -f", f"stop {place}"):
        typer.echo(f"  manylabel {command}")
    return 0


def _follow(request: "JobRequest", submission: str) -> int:
    from manylabel.cluster.jobs_api import JobsApi
    from manylabel.pipeline.submission.following import follow

    api = JobsApi(request.address)
    code = follow(api, Path(request.place), request.stage, submission, typer.echo)
    if code:
        place = shlex.quote(request.place)
        report(f"the job ended with exit code {code}; manylabel status {place}")
    return code
