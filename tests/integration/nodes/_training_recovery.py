"""Loses parts of a training job on three nodes: how long until that is told, and until it goes on.

    python -m tests.integration.nodes._training_recovery DATASET [CASE ...]

Cases are worker, shard, coordinator, node, cut and head. Run by hand, as root. Each trains to its
end, by the same command again where the first ended, and checks that every record was counted once
an epoch.
"""

import shutil
import sys
import time
from pathlib import Path

from tests.integration.nodes._node_training import NodeJob
from tests.integration.nodes._ray_nodes import RayNodes

CASES = ("worker", "shard", "coordinator", "node", "cut", "head")


def main(dataset: Path, cases: list[str]) -> None:
    """Prints a line a case."""
    folder = Path("/tmp/mlt1")
    for case in cases or CASES:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with RayNodes(folder, network=1) as nodes:
            _recover(nodes, dataset, folder, case)


def _recover(nodes: RayNodes, dataset: Path, folder: Path, case: str) -> None:
    job = NodeJob(nodes, dataset, folder / case / "run", epochs=4)
    # The head's own machine takes its jobs along; this one is told by a job on another.
    home = 2 if case == "head" else 1
    job.start(home)
    job.wait_until(lambda: job.samples > 250)
    lost = _lose(job, case)
    began = time.monotonic()
    if case == "worker":
        job.wait_until(lambda: "died" in job.printed)
        print(f"{case} on node {lost}: told after {time.monotonic() - began:.1f} s", flush=True)
        assert job.end() == 0, job.printed
        return job.assert_each_record_was_counted_once()
    code = job.end()
    told = time.monotonic() - began
    print(f"{case} on node {lost}: exit {code} after {told:.1f} s: {job.printed.splitlines()[-1]}")
    assert code == 75, job.printed
    if case == "head":
        return None
    began, samples = time.monotonic(), job.samples
    job.start(home)
    job.wait_until(lambda: "resumed" in job.printed or job.samples != samples)
    print(f"  at work again after {time.monotonic() - began:.1f} s", flush=True)
    assert job.end() == 0, job.printed
    return job.assert_each_record_was_counted_once()


def _lose(job: NodeJob, case: str) -> int:
    """The node where something was lost."""
    if case in ("worker", "shard", "coordinator"):
        return job.kill(case)
    node = 1 if case == "head" else next(n for n, _ in job.processes("shard") if n != 1)
    if case == "cut":
        job.nodes.cut(node)
    else:
        job.nodes.kill(node)
    return node


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
