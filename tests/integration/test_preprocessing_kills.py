"""Preprocessing whose processes are killed, in a few seconds; see _preprocessing_kills.py."""

import pytest

from tests.integration._preprocessing_kills import (
    Job,
    Kill,
    Phase,
    Undisturbed,
    Victim,
    disturb,
    make_catalog,
    rejects_deadly_picture,
)

pytestmark = pytest.mark.integration


def test_a_job_whose_processes_are_killed_and_that_is_killed_ends_with_the_same_bytes(tmp_path):
    make_catalog(tmp_path, pictures=400)
    job = Job(tmp_path, "processes", images_per_shard=16)
    undisturbed = Undisturbed.run(job, tmp_path / "undisturbed")
    kills = [
        Kill(Victim.WORKER, Phase.CHECKING, 0.6),
        Kill(Victim.JOB, Phase.CHECKING, 0.8),
        Kill(Victim.WORKER, Phase.WRITING, 0.3),
        Kill(Victim.JOB, Phase.WRITING, 0.4),
    ]
    told = list(disturb(job, tmp_path / "disturbed", kills, undisturbed))
    met = [kill for kill in told if "late" not in kill]
    assert len(met) >= len(kills) / 2, told


def test_a_picture_that_ends_its_process_is_rejected_by_name(tmp_path):
    """The kernel holds whoever opens it, which is then killed: see DeadlyPicture."""
    *_, picture = make_catalog(tmp_path, pictures=40)
    job = Job(tmp_path, "processes", images_per_shard=16)
    deaths = rejects_deadly_picture(job, picture, tmp_path / "with", tmp_path / "without")
    assert deaths >= 3
