"""Training on three nodes with addresses of their own, one of which is lost."""

import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from manylabel.storage.dataset import Dataset
from tests.integration.nodes._node_training import NodeJob
from tests.integration.nodes._ray_nodes import RayNodes

EPOCHS = 12  # so many that a worker which starts ten seconds after the others has its part
# Trains as the command does, and tells what it saw: the last word of who ran where, and once what
# Ray's own tools say.
WATCHED = """if True:
    import json, sys
    from pathlib import Path
    import ray.util.state
    from manylabel.pipeline.config import load_settings
    from manylabel.trainer.job import train

    seen = {}

    def watch(progress):
        seen["places"] = [place.model_dump() for place in progress.processes]
        if progress.step and "actors" not in seen:
            seen["actors"] = [
                [actor.name, actor.class_name, actor.ray_namespace, actor.state]
                for actor in ray.util.state.list_actors(address=sys.argv[1])
            ]

    settings, dataset, run, address = sys.argv[2:]
    train(load_settings(settings).trainer, dataset, run, address=address, on_progress=watch)
    Path(run).with_suffix(".json").write_text(json.dumps(seen))
"""

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_every_node_takes_its_part(nodes: RayNodes, clipart_dataset: Dataset, tmp_path: Path):
    job = NodeJob(nodes, Path(str(clipart_dataset.root)), tmp_path / "run", epochs=EPOCHS)
    settings, _, address, _, dataset, _, run = job.command[2:]
    arguments = [nodes.address, settings, dataset, run, address]
    job.start(1, sys.executable, "-c", WATCHED, *arguments)
    assert job.end() == 0, job.printed
    job.assert_each_record_was_counted_once()

    seen = json.loads((tmp_path / "run.json").read_text())
    names = ["shard-0", "shard-1", "coordinator", "worker-0", "worker-1", "worker-2"]
    assert [place["name"] for place in seen["places"]] == names
    applied = Counter({ip: 0 for ip in map(nodes.ip, (1, 2, 3))})
    for place in seen["places"]:
        applied[place["node"]] += place["images"]
    assert sum(applied.values()) == EPOCHS * job.records
    assert all(applied.values()), applied
    shards = {place["node"] for place in seen["places"] if place["name"].startswith("shard")}
    assert len(shards) == 2, "on nodes of their own"
    (coordinator,) = [place for place in seen["places"] if place["name"] == "coordinator"]
    assert coordinator["node"] == nodes.ip(1), "where the command runs"

    actors = {name: (kind, space) for name, kind, space, _ in seen["actors"]}
    actors = {name: actor for name, actor in actors.items() if name.startswith("run/")}
    assert set(actors) == {f"run/{name}" for name in names}
    assert actors["run/shard-0"][0] == "ParameterShardProcess"
    assert all(space.startswith("manylabel-") for _, space in actors.values())
    assert {path.stem for path in job.logs.iterdir()} == set(names)


def test_a_node_that_does_not_see_the_dataset_is_named(
    nodes: RayNodes, clipart_dataset: Dataset, tmp_path: Path
):
    """Each node has a folder of its own under the path of Ray's."""
    root = Path(str(clipart_dataset.root))
    shutil.copytree(root, nodes.folder / "t1" / "dataset")
    job = NodeJob(nodes, root, tmp_path / "run", epochs=3)
    of_the_first = str(nodes.folder / "ray" / "dataset")
    job.start(1, *job.command, "--dataset", of_the_first)  # The last one counts.
    assert job.end() == 2, job.printed
    assert "Traceback" not in job.printed
    line = job.printed.splitlines()[-1]
    others = f"{nodes.ip(2)}|{nodes.ip(3)}"
    assert re.match(f"error: the node ({others}) does not see {of_the_first}; every node", line)


def test_a_lost_worker_is_replaced_and_a_lost_node_is_told_and_made_good(
    nodes: RayNodes, clipart_dataset: Dataset, tmp_path: Path
):
    job = NodeJob(nodes, Path(str(clipart_dataset.root)), tmp_path / "run", epochs=6)
    job.start()
    job.wait_until(lambda: job.samples > 0)
    job.kill("worker")
    job.wait_until(lambda: "died" in job.printed)
    job.wait_until(lambda: job.samples > 300)
    lost = next(node for node, _ in job.processes("shard") if node != 1)
    nodes.kill(lost)
    assert job.end() == 75, job.printed
    # Of a node that loses its power, the end of its processes may be heard of first.
    why = r"\((its (node is gone|process ended)|it does not answer)\)"
    # Or of an answer that lay there, of which Ray does not say whose it was.
    who = rf"\S+ on {nodes.ip(lost)} \(process \d+\)|a parameter shard or the coordinator"
    told = rf"error: ({who}) was lost {why}; run the same command"
    assert re.match(told, job.printed.splitlines()[-1]), job.printed
    assert "Traceback" not in job.printed

    for _ in range(3):  # On the two that are left; Ray may hold the lost one for alive at first.
        job.start()
        if (code := job.end()) != 75:
            break
    assert code == 0, job.printed
    assert "resumed at step" in job.printed
    job.assert_each_record_was_counted_once()
