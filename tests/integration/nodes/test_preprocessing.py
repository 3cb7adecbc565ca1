"""Preprocessing on three nodes of a Ray cluster, a worker and a node of which are killed; see
_preprocessing_node_kills.py for many of them."""

import shutil
from pathlib import Path

import pytest

from tests.integration._preprocessing_kills import Phase
from tests.integration.nodes._preprocessing_node_kills import (
    Cluster,
    Stroke,
    Victim,
    same,
    start_folder,
)
from tests.integration.nodes._ray_nodes import RayNodes, cannot

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(cannot() is not None, reason=str(cannot())),
]
PICTURES = 240
FOLDER = Path("/tmp/mlt3")  # Ray's sockets lie in it, whose paths are short


@pytest.fixture(scope="module")
def cluster():
    start_folder(FOLDER, PICTURES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FOLDER)  # Ray's own processes import from where they are started
        with RayNodes(FOLDER, network=3) as nodes:
            yield Cluster(nodes, images_per_shard=8)
    shutil.rmtree(FOLDER)


def test_all_nodes_take_part_and_write_the_bytes_of_one_process(cluster):
    done = cluster.run(FOLDER / "three")
    same(done, cluster.inline())
    shards = {place.node: place.shards for place in done.places("write shards")}
    assert len(shards) == 3
    # The job is short, and a busy node starts late: test_submission.py asks for a fifth.
    assert min(shards.values()) >= 0.1 * done.shards, shards
    assert sum(shards.values()) == done.shards, "each counted once"
    # Of these there are a few large batches, so that shares say little.
    assert sum(place.images for place in done.places("check pictures")) == PICTURES + 2
    logged = {path.name.split("-")[1] for path in done.logs.glob("worker-*.log")}
    assert logged == {cluster.nodes.ip(node) for node in (1, 2, 3)}


def test_a_node_that_sees_no_pictures_is_named(cluster):
    hidden = ["mount", "-t", "tmpfs", "none", str(FOLDER / "data")]
    cluster.nodes.run(2, *hidden, check=True)
    try:
        done = cluster.run(FOLDER / "unseen", code=2)
    finally:
        cluster.nodes.run(2, "umount", str(FOLDER / "data"), check=True)
    (line,) = [line for line in done.output.splitlines() if "mount" in line]
    assert f"node {cluster.nodes.ip(2)} of the Ray cluster does not see" in line


def test_an_address_where_nothing_answers_is_told_at_once(cluster):
    done = cluster.run(FOLDER / "nowhere", code=2, address=f"{cluster.nodes.ip(9)}:6379")
    assert done.seconds < 20
    assert "could not be joined" in done.output
    assert not (FOLDER / "nowhere").exists()


def test_a_worker_and_a_node_are_killed(cluster):
    """The last one here: a node is missing afterwards."""
    strokes = [Stroke(Victim.WORKER, Phase.CHECKING, 0.0), Stroke(Victim.NODE, Phase.WRITING, 0.2)]
    done = cluster.run(FOLDER / "killed", strokes)
    same(done, cluster.inline())
    assert sum(place.shards for place in done.places("write shards")) == done.shards
