"""Preprocessing on three nodes of a Ray cluster, a worker and a node of which are killed; see
_preprocessing_node_kills.py for many of them."""

from pathlib import Path

import pytest

from tests.integration._preprocessing_kills import Phase, make_catalog
from tests.integration.nodes._preprocessing_node_kills import (
    Cluster,
    Stroke,
    Victim,
    same,
)
from tests.integration.nodes._ray_nodes import RayNodes

pytestmark = pytest.mark.integration
PICTURES = 240


@pytest.fixture(scope="module")
def cluster(nodes: RayNodes, folder: Path) -> Cluster:
    make_catalog(folder / "data", PICTURES)
    return Cluster(nodes, folder, images_per_shard=8)


def test_all_nodes_take_part_and_write_the_bytes_of_one_process(cluster):
    done = cluster.run(cluster.folder / "three")
    same(done, cluster.inline())
    shards = {place.node: place.shards for place in done.places("write shards")}
    assert len(shards) == 3, "test_submission.py writes more of them, and asks for a fifth"
    assert sum(shards.values()) == done.shards, "each counted once"
    # Of these there are a few large batches, so that shares say little.
    assert sum(place.images for place in done.places("check pictures")) == PICTURES + 2
    logged = {path.name.split("-")[1] for path in done.logs.glob("worker-*.log")}
    assert logged == {cluster.nodes.ip(node) for node in (1, 2, 3)}


def test_a_node_that_sees_no_pictures_is_named(cluster):
    hidden = ["mount", "-t", "tmpfs", "none", str(cluster.folder / "data")]
    cluster.nodes.run(2, *hidden, check=True)
    try:
        done = cluster.run(cluster.folder / "unseen", code=2)
    finally:
        cluster.nodes.run(2, "umount", str(cluster.folder / "data"), check=True)
    (line,) = [line for line in done.output.splitlines() if "mount" in line]
    assert f"node {cluster.nodes.ip(2)} of the Ray cluster does not see" in line


def test_an_address_where_nothing_answers_is_told_at_once(cluster):
    done = cluster.run(cluster.folder / "nowhere", code=2, address=f"{cluster.nodes.ip(9)}:6379")
    assert done.seconds < 20
    assert "could not be joined" in done.output
    assert not (cluster.folder / "nowhere").exists()


def test_a_worker_and_a_node_are_killed(cluster):
    """The last one here: a node is missing afterwards."""
    strokes = [Stroke(Victim.WORKER, Phase.CHECKING, 0.0), Stroke(Victim.NODE, Phase.WRITING, 0.2)]
    done = cluster.run(cluster.folder / "killed", strokes)
    same(done, cluster.inline())
    assert sum(place.shards for place in done.places("write shards")) == done.shards
