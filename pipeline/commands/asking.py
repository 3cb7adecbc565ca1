"""Commands that ask how jobs are, and stop them."""

from pathlib import Path
from typing import Annotated

import typer

from manylabel.pipeline.commands.options import OfCluster, Place, local_path, new_terminal
from manylabel.pipeline.streams import check_written
from manylabel.storage.jobs import JobStage

Stage = Annotated[JobStage | None, typer.Option(help="Which job of it; without it, the newest.")]


def jobs(
    root: Annotated[
        Path, typer.Argument(metavar="[ROOT]", parser=local_path, help="Folder of runs.")
    ] = Path("runs"),
    address: OfCluster = None,
) -> None:
    """List jobs: below a folder of runs, or with --address, all that a cluster knows."""
    import datetime

    from manylabel.cluster.jobs_api import JobsApi
    from manylabel.pipeline.errors import CommandError
    from manylabel.pipeline.submission.listing import jobs_below, jobs_on

    now = datetime.datetime.now(datetime.UTC)
    if address is not None:
        listed = jobs_on(JobsApi(address), now)
    elif root.is_dir():
        listed = jobs_below(root, now)
    else:
        raise CommandError(
            f"{root}: expected a folder of runs, found none; name it: manylabel jobs ROOT"
        )
    new_terminal().show_jobs(listed, now)
    check_written()


def status(run: Place, stage: Stage = None) -> int:
    """Tell how the jobs of a run or dataset are; from its files, also when the cluster is gone.

    Exit code: 0 while the newest is at work or done, 1 if it failed, was stopped or is lost.
    """
    import datetime

    from manylabel.pipeline.submission.following import job_of
    from manylabel.pipeline.submission.listing import job_at
    from manylabel.pipeline.submission.state import Standing

    job_of(run, stage)  # or says that there is none
    now = datetime.datetime.now(datetime.UTC)
    listed = job_at(run, stage, now)
    new_terminal().show_job_status(listed, now)
    check_written()
    bad = (Standing.FAILED, Standing.STOPPED, Standing.LOST)
    return 1 if listed[-1].view.standing in bad else 0


def logs(
    run: Place,
    stage: Stage = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the attempt ends.")] = False,
    process: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of this process, as worker-3; `all` for every one."),
    ] = None,
    worker: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Of worker N: --process worker-N.")
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Without it, the newest.")
    ] = None,
) -> None:
    """Show what a job's processes printed; these are files of the run."""
    from manylabel.pipeline.errors import CommandError
    from manylabel.pipeline.submission.following import job_of, log_files, read_log

    chosen = job_of(run, stage).stage
    number, found = log_files(run, chosen, attempt)
    name = f"worker-{worker}" if worker is not None else process
    if name is not None and name != "all":
        found = [log for log in found if log.stem == name]
    elif name is None:
        found = found[:1]
    if not found:
        raise CommandError(
            f"{run}: attempt {number} of {chosen} has no log of {name}; --process all shows all"
        )
    if follow and len(found) > 1:
        raise CommandError("expected one process with --follow; name it with --process")
    for log in found:
        if len(found) > 1:
            typer.echo(f"==> {log.name}")
        for line in read_log(run, chosen, number, log, is_followed=follow):
            typer.echo(line.rstrip("\n"))
    check_written()


def stop(
    run: Place,
    stage: Stage = None,
    now: Annotated[
        bool, typer.Option("--now", help="At once: what is not saved yet is done again.")
    ] = False,
    address: OfCluster = None,
) -> int:
    """Stop a submitted job: it saves, and the same `submit` goes on from there."""
    from manylabel.pipeline.submission.state import Standing
    from manylabel.pipeline.submission.stopping import stop as stop_job

    view = stop_job(run, stage, address, now=now, show=typer.echo)
    typer.echo(f"{view.standing}: {view.why}" if view.why else str(view.standing))
    return 0 if view.standing in (Standing.STOPPED, Standing.DONE) else 1


def supervise(
    request: Annotated[Path, typer.Argument(metavar="FILE", help="The job's request.")],
) -> int:
    """Carry out a submitted job; the cluster calls this."""
    from manylabel.pipeline.submission.supervise import supervise as carry_out

    return carry_out(request.absolute().parent)
