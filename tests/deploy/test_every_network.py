"""What is done with Xception can be done with every network: train, go on, evaluate, export,
predict. At a small size, on real files."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from manylabel.deploy.export import export
from manylabel.deploy.origin import find_exported
from manylabel.deploy.predict import Predictor as LabelPredictor
from manylabel.storage.dataset import Dataset
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.predict import Predictor, load_checkpoint, new_model
from manylabel.trainer.program.in_process import LocalCoordinator, new_local_shards
from manylabel.trainer.program.initial_state import write_initial_checkpoint
from manylabel.trainer.program.plan import TrainingPlan
from manylabel.trainer.runs.checkpoint import list_checkpoints, load_weights
from manylabel.trainer.runs.directory import describe_run, open_run
from manylabel.trainer.runs.resume import checkpoint_to_resume

pytestmark = pytest.mark.slow

BATCH = 4
K = 5
NETWORKS: dict[str, dict[str, Any]] = {
    "xception": {"width": 0.125, "middle_repeats": 0, "segments": 3},
    "inception_v3": {"width": 0.05, "padding": "same", "variant": 2016},
    "vgg_separable": {"width": 0.03},
    "vgg16": {"width": 0.0625, "fully_connected": [32, 16], "input_scale": "torch"},
    "resnet": {"width": 0.125, "blocks": [1, 1, 1, 1], "input_scale": "caffe"},
    "keras_applications": {"backbone": "MobileNet"},
}


def settings(name: str) -> TrainerConfig:
    return TrainerConfig.model_validate(
        {
            "model": {"name": name, "input_size": 32, **NETWORKS[name]},
            "input": {"batch_size": BATCH, "framing": {"fit": "pad", "central_fraction": 0.875}},
            "optimizer": {"name": "sgd"},
            "schedule": {"learning_rate": 0.01},
            "averaging": {"decay": 0.5},
            "topology": {"parameter_shards": 2, "leased_batches": 1},
            "checkpoints": {"every_samples": BATCH},
        }
    )


def train(run: Path, dataset: Dataset, config: TrainerConfig, updates: int | None) -> None:
    """From the newest checkpoint on; to the end, or as long as a process lives that then dies."""
    checkpoint = checkpoint_to_resume(run)
    assert checkpoint is not None
    plan = TrainingPlan.from_checkpoint(config, str(dataset.root), run, checkpoint)
    shards = new_local_shards(plan)
    coordinator = plan.new_coordinator(shards)
    worker = plan.new_worker("worker-0", shards, LocalCoordinator(coordinator))
    while updates != 0 and worker.step():
        updates = None if updates is None else updates - 1
    if updates is None:
        coordinator.finish()


@pytest.mark.timeout(600)  # On a busy machine.
@pytest.mark.parametrize(
    "name",
    [
        # Its 94 convolutions are traced nine times over, in some two minutes.
        pytest.param(name, marks=pytest.mark.lengthy if name == "inception_v3" else ())
        for name in NETWORKS
    ],
)
def test_a_network_can_be_trained_resumed_evaluated_exported_and_asked(
    name, dataset, stored, tmp_path
):
    run, config = tmp_path / "run", settings(name)
    describe_run(run, dataset, config, {})
    write_initial_checkpoint(run, dataset, config)
    train(run, dataset, config, updates=2)
    before = list_checkpoints(run)[-1]
    assert before.step in (1, 2)
    train(run, dataset, config, updates=None)
    newest = list_checkpoints(run)[-1]
    assert newest.samples == dataset.records("train") > before.samples > 0
    first, last = (load_weights(info, averaged=False) for info in (before, newest))
    assert np.abs(last.parameters - first.parameters).max() > 1e-4
    assert len(last.statistics) == last.layout.statistics_count

    evaluated = {
        image_id: (class_ids, scores)
        for batch in Predictor(run, dataset, k=K).predict(newest, batch_size=BATCH)
        for image_id, class_ids, scores in zip(*batch, strict=True)
    }
    assert len(evaluated) == dataset.records("heldout") > 0
    files = [stored[image_id] for image_id in evaluated]
    exported = export(run, tmp_path / "model").parent
    names = dataset.label_names()
    answers = LabelPredictor(find_exported(exported, K)).predict(files)
    for predicted, (class_ids, scores) in zip(answers, evaluated.values(), strict=True):
        assert predicted.fault is None
        assert list(predicted.labels) == [names[class_id] for class_id in class_ids]
        np.testing.assert_allclose(predicted.scores, 1 / (1 + np.exp(-scores)), rtol=1e-4)

    network = new_model(open_run(run))
    load_checkpoint(network, newest, averaged=True)
    images = tf.random.stateless_uniform((2, 32, 32, 3), (1, 2), -1, 1)
    alone = keras.models.load_model(exported / "model.keras")
    np.testing.assert_allclose(alone(images), network(images), rtol=1e-5, atol=1e-6)
