"""The `manylabel` command: what its exit code means, and how it ends.

It loads little before it listens to signals: what is told to stop in its first moments says so too.
"""

import atexit
import os
import sys
import tempfile
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from manylabel.cluster.leaving import abandoned
from manylabel.pipeline.errors import Interrupted, told
from manylabel.pipeline.streams import outlive_displays
from manylabel.storage.errors import ManylabelError, Transient, described, reason_of
from manylabel.storage.full_disks import writing
from manylabel.storage.stacks import show_stacks_on_signal
from manylabel.storage.stop_signals import on_stop_signal

TRY_AGAIN = os.EX_TEMPFAIL
_INTERRUPTED = 130
_STOPPED = "stopped; the same command begins again, or goes on from what is saved"


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code.

    0: done. 2: settings, files or arguments are wrong, a line each. 75: something was lost that
    another try may find again. 130: interrupted. 1: our fault; the traceback is kept in a file.
    """
    import typer

    from manylabel.pipeline.app import app
    from manylabel.pipeline.commands.options import report

    try:
        code = app(arguments, prog_name="manylabel", standalone_mode=False) or 0
        if code == _INTERRUPTED:  # what Typer makes of a KeyboardInterrupt, without a word
            typer.echo(_STOPPED, err=True)
        return code
    except typer.TyperException as error:
        if problem := error.format_message().rstrip("."):  # Empty: the help was shown instead.
            context = getattr(error, "ctx", None)
            command = "manylabel" if context is None else context.command_path
            report(f"{' '.join(problem.split())}; see {command} --help")
    except Interrupted as error:
        typer.echo(error, err=True)
        return _INTERRUPTED
    except ManylabelError as error:
        report(*(str(error).strip().splitlines() or [reason_of(error)]))
        if isinstance(error, Transient):
            return TRY_AGAIN
    except Exception as error:
        if (mendable := told(error, arguments)) is None:
            return _internal_error(error, arguments)
        report(str(mendable))
    return 2


def _internal_error(error: Exception, arguments: list[str]) -> int:
    import typer

    from manylabel.pipeline.app import DEBUG
    from manylabel.storage.jobs import logs_of_this_job

    text = "".join(traceback.format_exception(error))
    if DEBUG in arguments:
        typer.echo(text, err=True)
        return 1
    summary = described(error)[:200]
    try:
        kept = _keep_traceback(
            _writable(logs_of_this_job()), f"manylabel {' '.join(arguments)}\n{text}"
        )
    except OSError as refusal:
        kept = f"not kept, {reason_of(refusal)}; --debug shows it"
    typer.echo(f"internal error: {summary} (traceback: {kept})", err=True)
    return 1


def _keep_traceback(folder: Path | None, text: str) -> str:
    """The file."""
    descriptor, name = tempfile.mkstemp(".log", "manylabel-", folder)
    try:
        with (
            writing(name),
            open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file,
        ):
            file.write(text)
    except OSError:
        os.unlink(name)
        raise
    return name


def _writable(folder: Path | None) -> Path | None:
    """The folder; None where nothing can be written, for the system's own."""
    return folder if folder is not None and os.access(folder, os.W_OK) else None


def main() -> NoReturn:
    """Entry point of the console script."""
    outlive_displays()
    stderr = os.dup(2)  # While libraries are imported, 2 leads elsewhere.
    # Stages that have something to save, or to clear away, handle these signals in their own way.
    with on_stop_signal(partial(_stop_at_once, stderr)):
        show_stacks_on_signal(of_helpers=True)
        code = run(sys.argv[1:])
        with on_stop_signal(partial(os._exit, code)):  # What was done stays done, or failed.
            _end(code)


def _stop_at_once(stderr: int) -> NoReturn:
    """Without an exception: libraries that are being imported make something else of it."""
    show_cursor = "\x1b[?25h\n" if os.isatty(stderr) else ""  # A bar may be on the terminal.
    with suppress(OSError):
        os.write(stderr, f"{show_cursor}{_STOPPED}\n".encode())
    os._exit(_INTERRUPTED)


def _end(code: int) -> NoReturn:
    """Ends the process after what would be done at the interpreter's end, without that end.

    Threads of Arrow, gRPC and TensorFlow, which no call ends, run on into it. One that has just
    been started when the libraries' own memory is taken down, or that asks for the interpreter
    then, aborts the process, now and then, whatever its exit code was to be.
    """
    sys.stdout.flush()  # A signal ends the process from here on.
    sys.stderr.flush()
    if not abandoned.is_set():  # Else Ray's would not return.
        atexit._run_exitfuncs()  # Ray ends its processes; temporary files go, and logs are written.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
