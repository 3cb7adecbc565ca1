"""Runs a graph: in this process, or wherever Beam's own options say."""

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from upath import UPath

from manylabel.preprocessing.config import RunnerConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.transport.beam import (
    FnApiRunner,
    PipelineOptions,
    beam,
    outside_notebooks,
)
from manylabel.preprocessing.transport.scratch import spilling_to
from manylabel.storage.locations import is_local

_PLACE_IN_GRAPH = re.compile(r"( \[while running '[^']*'\])+$")
"""What Beam adds to the text of an error."""


def run_pipeline(
    build: Callable[[beam.Pipeline], object], config: RunnerConfig, beside: UPath
) -> None:
    """Builds a graph and runs it to its end.

    Without options it runs in this process and starts no other. The runner is named, because Beam's
    "DirectRunner" first tries to start another one, Prism, which it downloads.

    Args:
        build: Adds the transforms.
        config: Beam's options, and where to spill. Runners that the options name have their own
            ways to spill.
        beside: Directory to spill to where the settings name none.

    Raises:
        BaseException: as a step raised it, KeyboardInterrupt as well.
        PreprocessingError: a step failed on another machine.
    """
    with ExitStack() as stack:
        stack.enter_context(outside_notebooks())
        if not config.options:
            stack.enter_context(spilling_to(_scratch_directory(config, beside)))
        runner = None if config.options else FnApiRunner()
        options = parse_options(config.options)
        try:
            with beam.Pipeline(runner=runner, options=options) as pipeline:
                build(pipeline)
        except Exception as error:
            if isinstance(error, ValueError) and isinstance(error.__cause__, OSError):
                raise error.__cause__ from error  # Beam wraps what comes of decoding.
            if error.__context__ is not None and _PLACE_IN_GRAPH.search(str(error)):
                raise error.__context__ from error  # Raised in this process, and in its words.
            if not isinstance(error, RuntimeError):
                raise
            # What a step raised on another machine comes with the traceback as its text.
            reason = _PLACE_IN_GRAPH.sub(
                "", (str(error).strip() or type(error).__name__).splitlines()[-1]
            )
            raise PreprocessingError(
                f"the job failed: {reason}; mend the cause and run again, finished work is kept"
            ) from error


def check_runner(config: RunnerConfig) -> None:
    """Before anything is changed.

    Raises:
        PreprocessingError: Beam does not know an option, or there is no such directory.
    """
    parse_options(config.options)
    if config.scratch is not None and not os.path.isdir(os.path.expanduser(config.scratch)):
        raise PreprocessingError(
            f"preprocessing.runner.scratch: expected a directory, received {config.scratch}; make "
            "it, or name another one"
        )


def _scratch_directory(config: RunnerConfig, beside: UPath) -> str:
    """Near the results where these are local, since there has to be room anyway: the system's
    directory for temporary files is often kept in memory."""
    if config.scratch is not None:
        return os.path.expanduser(config.scratch)
    if not is_local(beside):
        return tempfile.gettempdir()
    beside.mkdir(parents=True, exist_ok=True)
    return str(beside.path)


def parse_options(options: Sequence[str]) -> PipelineOptions:
    """Beam's options.

    Raises:
        PreprocessingError: one that Beam and its runners do not know.
    """
    parsed = PipelineOptions(list(options))
    known = parsed.get_all_options(retain_unknown_options=False)
    unknown = sorted(set(parsed.get_all_options(retain_unknown_options=True)) - set(known))
    if unknown:
        raise PreprocessingError(
            f"preprocessing.runner.options: expected options of Apache Beam, received "
            f"{', '.join(f'--{name}' for name in unknown)}; see its documentation"
        )
    return parsed
