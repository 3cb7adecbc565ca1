"""The state of a run before its first update, as a checkpoint of step 0."""

from pathlib import Path

import keras

from preprocessing.dataset import Dataset
from trainer.checkpoint import CheckpointWriter, checkpoint_path
from trainer.config import TrainerConfig
from trainer.device import hide_gpus
from trainer.in_process import LocalShards
from trainer.ledger import RecordLedger
from trainer.models.build import build_model, decayed_variables
from trainer.optimizers import DecayBlocks
from trainer.parameters import ParameterLayout, cut
from trainer.plan import stream_identity
from trainer.shard import ParameterShard, ShardState


def write_initial_checkpoint(run: Path, dataset: Dataset, config: TrainerConfig) -> Path:
    """Builds the model with random weights of `config.seed` and writes its state; the path.

    Raises:
        CheckpointError: it cannot be written.
    """
    hide_gpus()
    keras.utils.set_random_seed(config.seed)
    model = build_model(config.model, dataset.num_classes)
    layout = ParameterLayout.of(model, decayed_variables(model))
    parameters, statistics = layout.read(model)
    count = config.topology.parameter_shards
    shards = LocalShards(
        [
            ParameterShard(
                ShardState.initial(parameters[slice(*p)], statistics[slice(*s)], config.optimizer),
                config.optimizer,
                DecayBlocks(0, [], 0.0),  # nothing is applied here
            )
            for p, s in zip(cut(len(parameters), count), cut(len(statistics), count), strict=True)
        ]
    )
    writer = CheckpointWriter(
        run, layout, stream_identity(dataset, config.input), shards, shard_count=count
    )
    writer.begin(0, 0, RecordLedger(total=0, lease_size=1).state())
    writer.poll(wait=True)
    return checkpoint_path(run, 0)
