"""docs/operating.md says the times and sizes that the code has."""

from datetime import timedelta
from pathlib import Path

import pytest

from manylabel.cluster import head, ray_cluster, slow_start
from manylabel.eval.schedule.config import ScheduleConfig
from manylabel.pipeline import schedule_fire, standstill
from manylabel.pipeline.submission import attempts, following, stopping, submit
from manylabel.preprocessing.executors import ray_map
from manylabel.preprocessing.executors.executor import _HOPELESS
from manylabel.preprocessing.http_config import HttpConfig
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.plane.failures import FailureConfig
from manylabel.trainer.plane.layout import ParameterLayout, VariableSlot
from manylabel.trainer.program import silences, topology
from manylabel.trainer.program.shard_memory import PROCESS_BYTES, shard_bytes

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text("utf-8")
PARAMETERS = 55_600_000


def row(beginning):
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {beginning}")]
    return line


def minutes(seconds):
    return f"{seconds / 60:g} min"


@pytest.mark.parametrize(
    ("beginning", "told"),
    [
        ("a worker says nothing", minutes(FailureConfig().worker_silence_seconds)),
        ("the coordinator or a parameter shard", minutes(topology._SILENCE_SECONDS)),
        ("the coordinator or a parameter shard", f"{silences.FIRST_SECONDS:g} s"),
        ("a worker of a training", f"{silences.WORKER_SECONDS:g} s"),
        ("preprocessing, `evaluate`", f"{standstill.FIRST_SECONDS:g} s"),
        ("Ray does not end", f"{ray_cluster._SECONDS_TO_LEAVE:g} s"),
        ("a server of pictures", f"`deadline`, {HttpConfig().deadline:g} s"),
        ("a server of pictures", f"`attempts`, {HttpConfig().attempts}"),
        ("the head of a cluster", f"{head.PATIENCE_SECONDS:g} s"),
        ("no node has room", f"{ray_map._SECONDS_WITHOUT_ROOM:g} s"),
        ("`submit --follow`", minutes(following._GIVE_UP_SECONDS)),
        ("`stop`", minutes(submit.STOP_SECONDS + stopping._SECONDS_TO_KILL)),
        ("`stop`", f"after {submit.STOP_SECONDS / 60:g} Ray"),
        ("`submit --retry", f"{attempts._FIRST_WAIT_SECONDS:g} s"),
        ("`submit --retry", minutes(attempts.LONGEST_WAIT_SECONDS)),
        ("a schedule's `on_failure`", minutes(schedule_fire.COMMAND_SECONDS)),
        ("Ray's own processes", minutes(slow_start._SECONDS)),
    ],
)
def test_times_are_those_of_the_code(beginning, told):
    assert told in row(beginning)


@pytest.mark.parametrize(
    ("beginning", "setting", "of"),
    [
        ("a record cannot be read", "max_bad_records", "of those read"),
        ("a gradient holds NaN", "max_rejected_gradients", "of them"),
    ],
)
def test_budgets_are_those_of_the_settings(beginning, setting, of):
    budget = getattr(FailureConfig(), setting)
    assert (
        f"`trainer.failures.{setting}`: {100 * budget.share:g} % {of}, or {budget.floor} |"
        in row(beginning)
    )


def test_deaths_and_gradients_in_a_row_are_as_the_page_says():
    config = FailureConfig()
    deaths = config.max_worker_restarts
    assert f"one in {1 / deaths.share:,.0f} updates, or {deaths.floor} |" in row("a worker dies")
    assert f"in_a_row`: {config.max_rejected_in_a_row} |" in row("the same, without a finite")
    assert f"{_HOPELESS} in a row are the machine" in row("a picture ends the process")


def test_a_fire_is_missed_when_the_page_says_so():
    assert ScheduleConfig.model_fields["deadline"].default == timedelta(hours=6)
    assert "`deadline`, 6 h" in row("a cron line of a schedule")


@pytest.mark.parametrize("workers", [1, 4])
def test_a_shard_asks_for_the_bytes_that_the_page_says(workers):
    settings = {"topology": {"workers": workers, "parameter_shards": 1}}
    kernel = VariableSlot(path="kernel", shape=(PARAMETERS,), offset=0)
    layout = ParameterLayout(parameters=(kernel,), statistics=())
    needed = shard_bytes(TrainerConfig.model_validate(settings), layout)
    assert needed == PROCESS_BYTES + PARAMETERS * (20 + 8 * workers)
    asked = row("the same, as asked of Ray")
    assert "20 bytes, and 8 a worker" in asked
    assert f"{PROCESS_BYTES // 2**20} MiB a shard" in asked
    if workers == 4:
        assert f"{(needed - PROCESS_BYTES) / 1e9:.1f} GB with 4 workers" in asked
