"""The cluster that the tests here share. Each file of them finds it whole, whatever was lost in the
one before."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.nodes._ray_nodes import RayNodes, cannot
from tests.integration.nodes._submitter import Submitter

NETWORK = 1


@pytest.fixture(scope="package")
def three_nodes() -> Iterator[RayNodes]:
    """A cluster that asks for a token; its folder is seen by all."""
    if reason := cannot():
        pytest.skip(reason)
    folder = Path(f"/tmp/mlt{NETWORK}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    with RayNodes(folder, network=NETWORK) as nodes:
        yield nodes
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def nodes(three_nodes: RayNodes) -> RayNodes:
    """The cluster, with all its nodes."""
    three_nodes.mend()
    return three_nodes


@pytest.fixture(scope="module")
def folder(nodes: RayNodes, request: pytest.FixtureRequest) -> Path:
    """Of the tests in one file, seen by all nodes."""
    path = nodes.folder / Path(request.node.name).stem
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def submitter(nodes: RayNodes, folder: Path) -> Submitter:
    """This machine, which is none of the nodes."""
    return Submitter(nodes, folder)
