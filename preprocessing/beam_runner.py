"""Runs Beam pipelines on this machine: in this process, or in several that Beam starts."""

import logging
from collections.abc import Callable

# At import, Beam warns about cloud clients that are not installed. They are not used here; errors
# still come through, then and later. Modules of this package import `beam` from here, so that
# whichever comes first is as quiet.
_level = logging.root.level
logging.root.setLevel(logging.ERROR)
import apache_beam as beam  # noqa: E402
from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402
from apache_beam.runners.portability.fn_api_runner import FnApiRunner  # noqa: E402

logging.root.setLevel(_level)
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
    mode = "in_memory" if processes == 1 else "multi_processing"
    options = PipelineOptions(
        [f"--direct_num_workers={processes}", f"--direct_running_mode={mode}"]
    )
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        build(pipeline)
