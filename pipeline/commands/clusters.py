"""Commands of `manylabel cluster`."""

from typing import Annotated

import typer

from manylabel.pipeline.commands.options import new_terminal, report
from manylabel.pipeline.stopping import told_to_stop_with
from manylabel.pipeline.streams import check_written


def check(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Of its Jobs API, http://HEAD:8265.")
    ],
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONFIG]", help="Settings file or preset, whose workers need room there."
        ),
    ] = None,
    folder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR", help="That all nodes must share and write in. May be repeated."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Workers that there must be room for.")
    ] = None,
    cpus: Annotated[
        float | None, typer.Option(metavar="C", help="Cores of each, with --workers.")
    ] = None,
    gpus: Annotated[
        float | None, typer.Option(metavar="G", help="GPUs of each, with --workers.")
    ] = None,
) -> int:
    """Is a Ray cluster closed to others, of the same versions, with shared folders and room?"""
    from manylabel.cluster.check import check_cluster
    from manylabel.cluster.jobs_api import JobsApi
    from manylabel.pipeline.cluster_check import Severity, has_errors, judge, wanted_workers

    folders = folder or []
    if relative := [each for each in folders if not each.startswith("/")]:
        raise typer.BadParameter(f"expected a path that begins with /, received {relative[0]}")
    wanted = wanted_workers(config, workers, cpus, gpus)
    with told_to_stop_with():
        facts = check_cluster(JobsApi(address), folders)
    findings = judge(facts, wanted)
    terminal = new_terminal()
    terminal.show_cluster(facts, findings)
    check_written()
    report(*(each.line() for each in findings if each.severity is Severity.ERROR))
    return 2 if has_errors(findings) else 0
