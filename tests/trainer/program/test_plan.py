"""What a plan refuses to make parts from."""

import shutil

import pytest

from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import TrainingError
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
    return TrainingPlan(CONFIG, str(dataset.root), tmp_path / "run", checkpoint)


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
