"""Each recipe trains as it stands, but for its size."""

import math

import pytest

from manylabel.pipeline.config import load_settings, preset_names
from manylabel.trainer.program.in_process import LocalCoordinator, new_local_shards
from manylabel.trainer.program.initial_state import write_initial_checkpoint
from manylabel.trainer.program.plan import TrainingPlan

pytestmark = pytest.mark.slow

UPDATES, BATCH, CLASSES = 20, 2, 5
SIZES = {
    "xception": ["model.middle_repeats=0", "model.input_size=40"],
    "inception_v3": ["model.input_size=75"],
    "resnet": ["model.blocks=[1, 1, 1, 1]", "model.input_size=40"],
}
# The graph of each worker takes long to make: one, but for rounds.


@pytest.mark.parametrize(
    "name",
    [
        # Two workers, each with the network that the one of jft-inception-v3 has.
        pytest.param(name, marks=pytest.mark.lengthy if name == "imagenet-inception-v3" else ())
        for name in preset_names()
    ],
)
def test_a_preset_trains(name, write_dataset, labelled_image, tmp_path):
    settings = load_settings(name).trainer
    workers = 2 if settings.updates.name == "synchronous" else 1
    records = UPDATES * BATCH * workers
    dataset = write_dataset(
        train=[[labelled_image(each, (each % CLASSES,)) for each in range(records)]],
        classes=CLASSES,
    )
    changes = [
        "model.width=0.0625",
        f"input.batch_size={BATCH}",
        "epochs=1",
        f"topology.workers={workers}",
        "topology.parameter_shards=2",
        *SIZES[settings.model.name],
    ]
    config = load_settings(name, [f"trainer.{change}" for change in changes]).trainer
    checkpoint = write_initial_checkpoint(tmp_path / "run", dataset, config)
    plan = TrainingPlan.from_checkpoint(config, str(dataset.root), tmp_path / "run", checkpoint)
    shards = new_local_shards(plan)
    coordinator = plan.new_coordinator(shards)
    local = LocalCoordinator(coordinator)
    running = {
        name: plan.new_worker(name, shards, local)
        for name in (f"worker-{each}" for each in range(workers))
    }
    while running:
        for name, worker in list(running.items()):
            if not worker.step():
                del running[name]
                coordinator.worker_ended(name, None)
    coordinator.finish()
    status = coordinator.status()
    assert (status.samples, status.finished, status.failure) == (records, True, None)
    assert status.step >= UPDATES
    assert all(math.isfinite(row.loss) for row in status.rows)
