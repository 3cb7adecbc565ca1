"""Processes by the hundred, quickly made whatever the tests before have loaded."""

import multiprocessing
from multiprocessing.context import ForkServerContext


def forks_of_a_small_process() -> ForkServerContext:
    """Forks of a server that has imported what a look at schedules needs, and nothing else.

    The tests' own process holds gigabytes by then, which make each of its forks slow.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "manylabel.pipeline.schedule"])
    return context
