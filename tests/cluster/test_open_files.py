"""Few file handles, which Ray would wait with for ever; the limit is not lowered here."""

import resource

import pytest

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.open_files import check_open_files
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors.ray_tasks import check_address
from manylabel.trainer.config import TopologyConfig
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.program.cluster import joined_cluster


@pytest.fixture
def limit(monkeypatch):
    """limit(hard): as `ulimit -Hn`."""
    return lambda hard: monkeypatch.setattr(resource, "getrlimit", lambda which: (16, hard))


def test_a_hard_limit_that_is_too_low_is_told_in_a_line(limit):
    limit(64)
    expected = r"may open 160 files, .* 8 processes, received a hard limit of 64 .*--ulimit nofile"
    with pytest.raises(ClusterError, match=expected) as told:
        check_open_files(8)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("hard", [160, resource.RLIM_INFINITY])
def test_the_soft_limit_does_not_count(limit, hard):
    limit(hard)
    check_open_files(8)


def test_it_is_known_before_anything_is_made(limit):
    limit(64)
    with (
        pytest.raises(TrainingError, match="hard limit of 64"),
        joined_cluster(None, TopologyConfig(workers=2)),
    ):
        pass
    with pytest.raises(PreprocessingError, match="hard limit of 64"):
        check_address(None)
