"""Runs Beam pipelines on this machine: in this process, or in several that Beam starts."""

import logging
import shlex
import sys
from collections.abc import Callable

# At import, Beam warns about cloud clients that are not installed. They are not used here; errors
# still come through, then and later. Modules of this package import `beam` from here, so that
# whichever comes first is as quiet.
_disabled = logging.root.manager.disable
logging.disable(logging.WARNING)
import apache_beam as beam  # noqa: E402
from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402
from apache_beam.runners.portability.fn_api_runner import FnApiRunner  # noqa: E402
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
        Exception: whatever a transform raised (with more than one process, RuntimeError with its
            traceback as text); Beam does not try again here.
    """
    environment = None
    if processes > 1:
        command = f"{shlex.quote(sys.executable)} -m preprocessing.beam_worker"
        environment = SubprocessSDKEnvironment.from_command_string(command)
    runner = FnApiRunner(default_environment=environment)
    options = PipelineOptions([f"--direct_num_workers={processes}"])
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        build(pipeline)
