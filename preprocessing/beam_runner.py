"""Runs Beam pipelines on this machine: in this process, or in several that Beam starts."""

import logging
import shlex
import sys
from collections.abc import Callable

from preprocessing.errors import PreprocessingError

# At import, Beam warns about cloud clients that are not installed. They are not used here; errors
# still come through, then and later. Modules of this package import `beam` from here, so that
# whichever comes first is as quiet.
_disabled = logging.root.manager.disable
logging.disable(logging.WARNING)
import apache_beam as beam  # noqa: E402
from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers  # noqa: E402
from apache_beam.transforms.environments import SubprocessSDKEnvironment  # noqa: E402

logging.disable(_disabled)
logging.getLogger("apache_beam").setLevel(logging.ERROR)


def run_pipeline(build: Callable[[beam.Pipeline], object], processes: int) -> None:
    """Builds a pipeline and runs it to its end.

    The runner is named, because Beam's "DirectRunner" first tries to start another one, Prism,
    which it downloads.

    Args:
        build: Adds the transforms.
        processes: 1 for this process; more are started by Beam and take about 8 seconds to come.

    Raises:
        PreprocessingError: storage failed, or a worker process did; Beam does not try again here.
    """
    environment = None
    if processes > 1:
        command = f"{shlex.quote(sys.executable)} -m preprocessing.beam_worker"
        environment = SubprocessSDKEnvironment.from_command_string(command)
    runner = FnApiRunner(default_environment=environment)
    options = PipelineOptions([f"--direct_num_workers={processes}"])
    try:
        with beam.Pipeline(runner=runner, options=options) as pipeline:
            build(pipeline)
    except (OSError, RuntimeError) as error:
        # What a worker process raised comes as a RuntimeError with the traceback as its text.
        reason = str(error).strip().splitlines()[-1]
        raise PreprocessingError(
            f"the job failed: {reason}; mend the cause and run again, finished shards are kept"
        ) from error


def _close_also_unconnected(connection: worker_handlers.ControlConnection) -> None:
    """Tells a worker to end, also one that has not connected yet and will ask for work later.

    Beam 2.77 forgets the latter, and then waits for it: a job that failed while its workers were
    still starting would never return.
    """
    connection.push(worker_handlers.BeamFnControlServicer._DONE_MARKER)
    _close(connection)


_close = worker_handlers.ControlConnection.close
worker_handlers.ControlConnection.close = _close_also_unconnected
