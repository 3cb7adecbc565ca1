"""What a model of a run leaves of Keras for other models of the process."""

import datetime

import keras

from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.predict import new_model
from manylabel.trainer.runs.directory import RunDescription


def test_other_models_keep_their_policy_of_types():
    small = {"input_size": 32, "width": 0.125, "middle_repeats": 0}
    trainer = TrainerConfig.model_validate({"model": small, "precision": "mixed_bfloat16"})
    description = RunDescription(
        dataset="dataset",
        dataset_digest="0" * 64,
        dataset_settings={},
        labels_digest="0" * 64,
        num_classes=3,
        code_version="test",
        created=datetime.datetime.now(datetime.UTC),
        trainer=trainer,
    )
    model = new_model(description)
    assert "mixed_bfloat16" in {layer.dtype_policy.name for layer in model.layers}
    assert keras.config.dtype_policy().name == "float32"
