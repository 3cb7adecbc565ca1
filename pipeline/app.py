"""The commands of `manylabel`, in the order of the work."""

from typing import Annotated

import typer

from manylabel.pipeline.commands import (
    asking,
    clusters,
    datasets,
    judging,
    making,
    scheduling,
    showing,
    submitting,
)
from manylabel.pipeline.quiet import quiet_libraries
from manylabel.storage.provenance import code_version

DEBUG = "--debug"

app = typer.Typer(add_completion=False, rich_markup_mode="rich", no_args_is_help=True)
for command in (
    making.preprocess,
    making.train,
    judging.evaluate,
    judging.compare,
    judging.review,
    judging.score,
    judging.promote,
    making.export,
    making.predict,
    showing.runs,
    showing.networks,
    showing.dashboard,
    asking.jobs,
    asking.status,
    asking.logs,
    asking.stop,
    making.demo,
):
    app.command()(command)

dataset = typer.Typer(no_args_is_help=True, help="Look after a dataset.")
dataset.command("verify")(datasets.verify)
app.add_typer(dataset, name="dataset")

presets = typer.Typer(no_args_is_help=True, help="List and show the presets.")
presets.command("list")(showing.list_presets)
presets.command("show")(showing.show_preset)
app.add_typer(presets, name="presets")

schedule = typer.Typer(no_args_is_help=True, help="Evaluate on a schedule: schedules.yaml.")
schedule.command("run-due")(scheduling.schedule_run_due)
schedule.command("serve")(scheduling.schedule_serve)
schedule.command("list")(scheduling.schedule_list)
app.add_typer(schedule, name="schedule")

cluster = typer.Typer(no_args_is_help=True, help="Look at a Ray cluster.")
cluster.command("check")(clusters.check)
app.add_typer(cluster, name="cluster")

submit = typer.Typer(no_args_is_help=True, help="Give a job to a Ray cluster.")
submit.command()(submitting.preprocess)
submit.command()(submitting.train)
submit.command()(submitting.evaluate)
submit.command()(submitting.export)
app.add_typer(submit, name="submit")
app.command(hidden=True)(asking.supervise)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"manylabel {code_version()}")
        raise typer.Exit


@app.callback()
def manylabel(
    debug: Annotated[  # run() looks for it: errors leave no context behind.
        bool, typer.Option(DEBUG, help="Show the traceback of an internal error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and end."
        ),
    ] = False,
) -> None:
    """Train image classifiers with many labels per image, and show whether they got better."""
    quiet_libraries()
