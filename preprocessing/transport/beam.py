"""Apache Beam, imported quietly; modules of this package import it from here."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

# At import, Beam warns about cloud clients that are not installed. They are not used here; errors
# still come through, then and later.
_disabled = logging.root.manager.disable
logging.disable(logging.WARNING)
try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.utils import interactive_utils
finally:
    logging.disable(_disabled)


def _set_level(name: str, level: int) -> None:
    """Unless somebody has: who asked to be told everything did so before Beam is loaded."""
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:
        logger.setLevel(level)


_set_level("apache_beam", logging.ERROR)
# Its errors are tracebacks of steps; what a step raised reaches the job, which says it in a line.
_set_level("apache_beam.runners.common", logging.CRITICAL)

__all__ = ["FnApiRunner", "PipelineOptions", "beam", "outside_notebooks"]


@contextmanager
def outside_notebooks() -> Iterator[None]:
    """Graphs of the block are not those of a notebook, wherever the process is.

    Beam would prepare them to be looked at cell by cell: with pandas and more, which it does not
    install, and it would leave its temporary folder to the notebook's end.
    """
    asking = (beam.pipeline, interactive_utils)
    before = [module.is_in_ipython for module in asking]
    for module in asking:
        module.is_in_ipython = _never
    try:
        yield
    finally:
        for module, ask in zip(asking, before, strict=True):
            module.is_in_ipython = ask


def _never() -> bool:
    return False
