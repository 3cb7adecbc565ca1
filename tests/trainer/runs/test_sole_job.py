"""One job at a time in a run, and nothing of one that did not begin."""

import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from manylabel.trainer.errors import TrainingError
from manylabel.trainer.runs.checkpoint import DIRECTORY
from manylabel.trainer.runs.directory import DESCRIPTION, INITIAL_WEIGHTS
from manylabel.trainer.runs.sole_job import sole_training_job


def start(run, *, described=False):
    """A job that makes its first weights, and then ends with what it did not foresee."""
    with suppress(KeyboardInterrupt), sole_training_job(run):
        (run / DIRECTORY / "00000000").mkdir(parents=True)
        (run / INITIAL_WEIGHTS).write_text("{}")
        if described:
            (run / DESCRIPTION).write_text("{}")
        raise KeyboardInterrupt


def test_a_job_that_never_began_leaves_nothing_of_its_run_nor_of_the_folders_above(tmp_path):
    start(tmp_path / "runs" / "deep" / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_users_own_stays(tmp_path):
    (tmp_path / "run").mkdir()
    start(tmp_path / "run")
    assert list(tmp_path.rglob("*")) == [tmp_path / "run"]


def test_what_was_there_or_came_from_others_stays(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    start(tmp_path / "run")
    assert len(list((tmp_path / "run").iterdir())) == 4
    with suppress(TrainingError), sole_training_job(tmp_path / "other"):
        (tmp_path / "other" / "jobs").mkdir()
        raise TrainingError("no room")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["jobs"]


def test_a_run_that_is_described_stays(tmp_path):
    start(tmp_path / "run", described=True)
    assert (tmp_path / "run" / DIRECTORY / "00000000").is_dir()


def test_two_jobs_do_not_train_in_one_run(tmp_path):
    with (
        sole_training_job(tmp_path / "run"),
        pytest.raises(TrainingError, match="another job is training"),
        sole_training_job(tmp_path / "run"),
    ):
        pass
    with sole_training_job(tmp_path / "run"), sole_training_job(tmp_path / "other"):
        pass


@pytest.mark.parametrize("in_the_way", ["run", "run/.lock/"])
def test_a_run_that_cannot_be_locked_is_not_said_to_be_in_use(tmp_path, in_the_way):
    """A file where the run should be; a directory where its lock should be."""
    path = tmp_path / in_the_way
    if in_the_way.endswith("/"):
        path.mkdir(parents=True)
    else:
        path.touch()
    with (
        pytest.raises(TrainingError, match=rf"run: .* can be written and locked.*{path}"),
        sole_training_job(tmp_path / "run"),
    ):
        pass


def test_what_fails_inside_a_job_is_not_its_locks_error(tmp_path):
    with pytest.raises(BlockingIOError), sole_training_job(tmp_path):
        raise BlockingIOError


def test_a_killed_job_leaves_no_lock(tmp_path):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from manylabel.trainer.runs.sole_job import sole_training_job\n"
        "with sole_training_job(Path(sys.argv[1])):\n"
        "    print('locked', flush=True); time.sleep(100)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "locked\n"
        with pytest.raises(TrainingError, match="another job"), sole_training_job(tmp_path):
            pass
        job.send_signal(signal.SIGKILL)
    with sole_training_job(tmp_path):
        pass
