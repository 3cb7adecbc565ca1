"""Where pictures are checked and shards are written: in this process, in several, or on Ray.

Beam decides what is to be done, and starts no process. What is sent to workers imports no Beam.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from upath import UPath

from manylabel.preprocessing.config import ExecutorKind, PreprocessingConfig
from manylabel.preprocessing.executors.executor import Executor, Lost, Task
from manylabel.preprocessing.executors.inline import Inline
from manylabel.preprocessing.executors.processes import Processes
from manylabel.preprocessing.executors.sight import sight

__all__ = ["Executor", "Inline", "Lost", "Task", "check_cluster", "open_executor"]


def check_cluster(config: PreprocessingConfig) -> None:
    """Before anything else is done, which may take long.

    Raises:
        PreprocessingError: nothing answers at the address of the cluster that the settings name.
    """
    if config.executor is ExecutorKind.RAY:
        from manylabel.preprocessing.executors.ray_tasks import check_address  # takes a second

        check_address(config.runner.address)


@contextmanager
def open_executor(
    config: PreprocessingConfig, dataset: str, images: Sequence[UPath], plan: UPath
) -> Iterator[Executor]:
    """The executor that the settings name, for as long as it is needed.

    Args:
        dataset: its name, by which tasks on a cluster are named.
        images, plan: folders that all nodes of a cluster must see; `plan` can be written to.

    Raises:
        PreprocessingError: its cluster cannot be joined or started, or a node does not see these.
    """
    if config.executor is ExecutorKind.INLINE:
        yield Inline()
    elif config.executor is ExecutorKind.PROCESSES:
        processes = config.runner.processes or len(os.sched_getaffinity(0))
        with closing(Processes(processes)) as executor:
            yield executor
    else:
        from manylabel.preprocessing.executors.ray_tasks import ray_tasks  # takes a second

        with (
            sight(images, plan) as seen,
            ray_tasks(config.runner, dataset, seen) as executor,
        ):
            yield executor
