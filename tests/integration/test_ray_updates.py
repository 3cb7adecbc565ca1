"""Update policies on real Ray: workers wait and are killed, and a trace has what was decided."""

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from manylabel.storage.dataset import Dataset
from manylabel.trainer.plane.policies.events import Apply, Pushed
from manylabel.trainer.plane.policies.trace import read_trace
from manylabel.trainer.runs.metrics_log import read_metrics
from tests.integration.test_ray_training import Job

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

WORKERS = 3
UPDATES: dict[str, dict[str, object]] = {
    "synchronous": {"name": "synchronous", "backup_workers": 1},
    "staleness_wait": {"staleness": {"bound": 1}},
}


@pytest.mark.parametrize("updates", UPDATES)
def test_a_killed_worker_costs_no_record_and_the_trace_reproduces_each_decision(
    clipart_dataset: Dataset,
    tmp_path: Path,
    descendants: Callable[[int], list[int]],
    updates: str,
):
    topology = {"workers": WORKERS, "parameter_shards": 2, "cpus_per_worker": 0.5}
    job = Job(
        clipart_dataset,
        tmp_path,
        descendants,
        updates={**UPDATES[updates], "trace": True},
        topology=topology,
    )
    try:
        job.start()
        job.wait_until(lambda: job.samples > job.records)
        victim, *_ = job.process_ids(b"GradientWorkerProcess")
        os.kill(victim, signal.SIGKILL)
        assert job.end() == 0, job.log
    finally:
        job.kill()
    job.assert_each_record_was_counted_once()
    policy, steps = read_trace(job.run / "updates" / "00000000.jsonl")
    assert [policy.on(event) for event, _ in steps] == [decisions for _, decisions in steps]
    decided = list(itertools.chain.from_iterable(decisions for _, decisions in steps))
    applied = [decision for decision in decided if isinstance(decision, Apply)]
    rows = read_metrics(job.run)
    assert len(applied) == rows[-1].step
    gradients = sum(len(decision.updates) for decision in applied)
    assert gradients == sum(row.gradients for row in rows)
    pushed = sum(isinstance(event, Pushed) for event, _ in steps)
    assert pushed >= gradients + sum(row.dropped for row in rows)
    assert max(row.max_staleness for row in rows) <= (0 if updates == "synchronous" else 1)
    assert sum(row.waited for row in rows) > 0
    if updates == "synchronous":
        assert {len(decision.updates) for decision in applied[: len(applied) // 2]} == {2}
