"""Apache Beam, imported quietly; modules of this package import it from here."""

import logging

# At import, Beam warns about cloud clients that are not installed. They are not used here; errors
# still come through, then and later.
_disabled = logging.root.manager.disable
logging.disable(logging.WARNING)
import apache_beam as beam  # noqa: E402
from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402
from apache_beam.runners.portability.fn_api_runner import FnApiRunner  # noqa: E402

logging.disable(_disabled)
logging.getLogger("apache_beam").setLevel(logging.ERROR)
# Its errors are tracebacks of steps; what a step raised reaches the job, which says it in a line.
logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)

__all__ = ["FnApiRunner", "PipelineOptions", "beam"]
