"""Where pictures are checked and shards are written: in this process, in several, or on Ray.

Beam decides what is to be done, and starts no process. What is sent to workers imports no Beam.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

from manylabel.preprocessing.config import ExecutorKind, PreprocessingConfig
from manylabel.preprocessing.executors.executor import Executor, Lost
from manylabel.preprocessing.executors.inline import Inline
from manylabel.preprocessing.executors.processes import Processes

__all__ = ["Executor", "Inline", "Lost", "open_executor"]


@contextmanager
def open_executor(config: PreprocessingConfig) -> Iterator[Executor]:
    """The executor that the settings name, for as long as it is needed.

    Raises:
        PreprocessingError: its cluster cannot be joined or started.
    """
    if config.executor is ExecutorKind.INLINE:
        yield Inline()
    elif config.executor is ExecutorKind.PROCESSES:
        processes = config.runner.processes or len(os.sched_getaffinity(0))
        with closing(Processes(processes)) as executor:
            yield executor
    else:
        from manylabel.preprocessing.executors.ray_tasks import ray_tasks  # takes a second

        with ray_tasks(config.runner.address) as executor:
            yield executor
