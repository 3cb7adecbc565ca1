"""A cluster that cannot be started, on real Ray in a process of its own."""

import os
import subprocess
import sys

SLOW_MACHINE = """if True:
    import itertools, time, types
    import ray._private.node
    import ray._private.services
    from manylabel.trainer.config import TopologyConfig
    from manylabel.trainer.errors import TrainingError
    from manylabel.trainer.program.cluster import training_cluster

    # Ray gives a node 30 s: this one never comes, and each look at its clock takes as long.
    ray._private.services.RAYLET_EXECUTABLE = "/bin/false"
    clock = types.SimpleNamespace(**vars(time))
    clock.monotonic = itertools.count(0, 31).__next__
    ray._private.node.time = clock
    try:
        with training_cluster(None, TopologyConfig(), 0):
            pass
    except TrainingError as error:
        print(error)
"""


def test_a_machine_that_is_too_slow_to_start_ray_is_told_in_a_line():
    done = subprocess.run(
        [sys.executable, "-c", SLOW_MACHINE],
        env={**os.environ, "RAY_raylet_start_wait_time_s": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("Ray could not be started on this machine: ")
    assert "timed out during startup" in done.stdout
    assert "RAY_raylet_start_wait_time_s" in done.stdout, "what to do"
