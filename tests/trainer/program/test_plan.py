"""What a plan refuses to make parts from."""

import shutil
from dataclasses import replace

import pytest

from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import TrainingError, UnseenPathError
from manylabel.trainer.program.in_process import LocalCoordinator, new_local_shards
from manylabel.trainer.program.initial_state import write_initial_checkpoint
from manylabel.trainer.program.plan import TrainingPlan

CONFIG = TrainerConfig.model_validate(
    {"model": {"input_size": 32, "width": 0.125, "middle_repeats": 0}}
)


@pytest.fixture
def plan(write_dataset, labelled_image, tmp_path):
    dataset = write_dataset([[labelled_image(n, (n,)) for n in range(4)]])
    checkpoint = write_initial_checkpoint(tmp_path / "run", dataset, CONFIG)
    return TrainingPlan.from_checkpoint(CONFIG, str(dataset.root), tmp_path / "run", checkpoint)


def test_a_dataset_that_was_made_anew_is_noticed_by_whatever_starts(
    plan, write_dataset, labelled_image
):
    shards = new_local_shards(plan)
    coordinator = LocalCoordinator(plan.new_coordinator(shards))
    plan.new_worker("first", shards, coordinator)
    shutil.rmtree(plan.dataset_root)
    write_dataset([[labelled_image(n, (n,)) for n in (0, 1, 3, 2)]])
    for make in (
        lambda: plan.new_coordinator(shards),
        lambda: plan.new_worker("replaces it", shards, coordinator),
    ):
        with pytest.raises(TrainingError, match="go on with the dataset and seed that the run beg"):
            make()


def test_a_worker_starts_when_later_checkpoints_have_taken_the_place_of_the_plan_s(plan):
    shards = new_local_shards(plan)
    coordinator = LocalCoordinator(plan.new_coordinator(shards))
    shutil.rmtree(plan.checkpoint)
    assert plan.new_worker("replaces one that died", shards, coordinator).step()


def test_a_process_that_does_not_see_the_run_s_files_names_node_and_path(plan, tmp_path):
    plan.check_seen("10.0.0.7", tmp_path)
    for unseen, logs in (
        (replace(plan, dataset_root=str(tmp_path / "elsewhere")), None),
        (replace(plan, run=tmp_path / "elsewhere"), None),
        (plan, tmp_path / "elsewhere"),
    ):
        with pytest.raises(UnseenPathError, match=r"node 10.0.0.7 does not see .*/elsewhere; ever"):
            unseen.check_seen("10.0.0.7", logs)
