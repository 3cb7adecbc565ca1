"""The `manylabel` command: its commands in the order of the work, and what its exit code means."""

import logging
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated

import typer

from manylabel.cluster.leaving import abandoned
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
from manylabel.pipeline.commands.options import report
from manylabel.pipeline.errors import Interrupted, told
from manylabel.pipeline.quiet import quiet_libraries
from manylabel.pipeline.streams import outlive_displays
from manylabel.storage.errors import ManylabelError, Transient, reason_of
from manylabel.storage.jobs import logs_of_this_job
from manylabel.storage.provenance import code_version
from manylabel.storage.stacks import show_stacks_on_signal

DEBUG = "--debug"
TRY_AGAIN = os.EX_TEMPFAIL
_CLEAN_UP = {"ray"}  # Libraries that end processes of theirs when this one ends.

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
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show it and end."),
    ] = False,
) -> None:
    """Train image classifiers with many labels per image, and show whether they got better."""
    quiet_libraries()


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code.

    0: done. 2: settings, files or arguments are wrong, a line each. 75: something was lost that
    another try may find again. 130: interrupted. 1: our fault; the traceback is kept in a file.
    """
    try:
        return app(arguments, prog_name="manylabel", standalone_mode=False) or 0
    except typer.TyperException as error:
        if problem := error.format_message().rstrip("."):  # Empty: the help was shown instead.
            report(f"{problem}; see manylabel --help")
    except Interrupted as error:
        typer.echo(error, err=True)
        return 130
    except ManylabelError as error:
        report(*(str(error).strip().splitlines() or [reason_of(error)]))
        if isinstance(error, Transient):
            return TRY_AGAIN
    except OSError as error:
        if (mendable := told(error)) is None:
            return _internal_error(error, arguments)
        report(str(mendable))
    except Exception as error:
        return _internal_error(error, arguments)
    return 2


def _internal_error(error: Exception, arguments: list[str]) -> int:
    text = "".join(traceback.format_exception(error))
    if DEBUG in arguments:
        typer.echo(text, err=True)
        return 1
    with tempfile.NamedTemporaryFile(
        "w",
        encoding="utf-8",
        errors="backslashreplace",
        prefix="manylabel-",
        suffix=".log",
        dir=_writable(logs_of_this_job()),
        delete=False,
    ) as file:
        file.write(f"manylabel {' '.join(arguments)}\n{text}")
    summary = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    typer.echo(f"internal error: {summary} (traceback: {file.name})", err=True)
    return 1


def _writable(folder: Path | None) -> Path | None:
    """The folder; None where nothing can be written, for the system's own."""
    return folder if folder is not None and os.access(folder, os.W_OK) else None


def main() -> None:
    """Entry point of the console script."""
    show_stacks_on_signal(of_helpers=True)
    outlive_displays()
    code = run(sys.argv[1:])
    if _CLEAN_UP.isdisjoint(sys.modules) or abandoned.is_set():
        # Threads of Arrow and TensorFlow that are still starting abort a process that ends in the
        # ordinary way, now and then, whatever its exit code was to be.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
