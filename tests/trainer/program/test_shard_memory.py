"""The memory that a parameter shard asks for, against what one holds."""

import subprocess
import sys

import pytest

from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.plane.layout import ParameterLayout, VariableSlot
from manylabel.trainer.program.shard_memory import PROCESS_BYTES, shard_bytes

# 64 parameters and 16 statistics.
LAYOUT = ParameterLayout(
    parameters=(VariableSlot(path="kernel", shape=(64,), offset=0),),
    statistics=(VariableSlot(path="mean", shape=(16,), offset=0),),
)


@pytest.mark.parametrize(
    ("settings", "floats"),
    [
        # weights, average and two slots; statistics and their average; 1 gradient, 2 snapshots
        ({}, 4 * 64 + 2 * 16 + 3 * 80),
        ({"optimizer": {"name": "sgd"}}, 3 * 64 + 2 * 16 + 3 * 80),
        ({"topology": {"workers": 3}}, 4 * 64 + 2 * 16 + 7 * 80),
        ({"global_clipnorm": 1.0}, 5 * 64 + 2 * 16 + 3 * 80),
        ({"updates": {"compensation": {"name": "inverse_staleness"}}}, 4 * 64 + 2 * 16 + 3 * 80),
        # one more slot, and the compensated gradient
        ({"updates": {"compensation": {"name": "dc_asgd"}}}, 6 * 64 + 2 * 16 + 3 * 80),
        # the mean of a round
        ({"updates": {"name": "synchronous"}}, 4 * 64 + 2 * 16 + 4 * 80),
        ({"topology": {"parameter_shards": 2}}, 4 * 32 + 2 * 16 + 3 * 48),  # 16 are not cut
    ],
)
def test_a_shard_asks_for_what_it_holds(settings, floats):
    config = TrainerConfig.model_validate(settings)
    assert shard_bytes(config, LAYOUT) == PROCESS_BYTES + 4 * floats


def test_a_process_without_parameters_holds_no_more_than_is_counted_for_it():
    code = (
        "import ray, manylabel.trainer.program.processes\n"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.25 * PROCESS_BYTES < 1024 * int(done.stdout) < PROCESS_BYTES
