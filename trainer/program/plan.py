"""Everything that the processes of a run must agree on, and how each part is made from it.

A plan travels to every actor; the weights do not travel with it: shards read their own ranges
from the checkpoint that the plan names. A fresh run starts from a checkpoint of step 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Self
from zlib import crc32

from upath import UPath

from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import CheckpointError, TrainingError, UnseenPathError
from manylabel.trainer.plane.coordinator import Coordinator
from manylabel.trainer.plane.layout import cut
from manylabel.trainer.plane.optimizers import DecayBlocks
from manylabel.trainer.plane.policies.compensation import MEAN_SQUARE, DelayCompensation
from manylabel.trainer.plane.policies.events import UpdatePolicy
from manylabel.trainer.plane.policies.trace import FOLDER, Recorded
from manylabel.trainer.plane.protocols import CoordinatorShards, WorkerCoordinator, WorkerShards
from manylabel.trainer.plane.shard import ParameterShard
from manylabel.trainer.plane.updates import UpdateRules
from manylabel.trainer.records.config import InputConfig
from manylabel.trainer.records.ledger import RecordLedger
from manylabel.trainer.records.order import RecordOrder
from manylabel.trainer.runs.checkpoint import (
    CheckpointManifest,
    StreamIdentity,
    load_shard,
    read_manifest,
)
from manylabel.trainer.runs.writer import CheckpointWriter

if TYPE_CHECKING:  # loads TensorFlow, which only workers need
    from manylabel.trainer.program.worker import GradientWorker


SHARED = "every node needs --dataset and --run under the same paths, as by NFS or a bind mount"


@dataclass(frozen=True)
class TrainingPlan:
    """One start of a run.

    Attributes:
        dataset_root: as a URI or path.
        run: the run's directory; every process must see it under this path.
        checkpoint: where to go on from.
        manifest: what the checkpoint says of itself, for workers that start when later ones have
            taken its place.
    """

    config: TrainerConfig
    dataset_root: str
    run: Path
    checkpoint: Path
    manifest: CheckpointManifest

    @classmethod
    def from_checkpoint(
        cls, config: TrainerConfig, dataset_root: str, run: Path, checkpoint: Path
    ) -> Self:
        """A start that goes on from a checkpoint of the run.

        Raises:
            CheckpointError: its manifest cannot be read.
        """
        return cls(config, dataset_root, run, checkpoint, read_manifest(checkpoint))

    def check_seen(self, node: str, logs: Path | None = None) -> None:
        """Whether this process sees the run's files, and nothing else in their place.

        Args:
            node: the name of where this process runs, for the message.
            logs: a folder of the run that is there too.

        Raises:
            UnseenPathError: it does not.
        """
        dataset = UPath(self.dataset_root)
        for path in (dataset, UPath(self.run), *([UPath(logs)] if logs else [])):
            if not path.is_dir():
                raise UnseenPathError(f"the node {node} does not see {path}; {SHARED}")

    def new_shard(self, index: int) -> ParameterShard:
        """The shard of range `index`, as of the checkpoint.

        Raises:
            CheckpointError: the checkpoint is damaged, or of another optimizer.
        """
        config, manifest = self.config, read_manifest(self.checkpoint)
        shards = config.topology.parameter_shards
        chosen = config.updates.compensation
        compensation = chosen if isinstance(chosen, DelayCompensation) else None
        state = load_shard(self.checkpoint, index, shards)
        start, stop = cut(manifest.layout.parameter_count, shards)[index]
        # Compensation may begin, end or be another with a resumed run: the gradients to come soon
        # decide what it remembers.
        remembered = compensation.new_slots(stop - start) if compensation else {}
        kept = {name: state.slots.pop(name, fresh) for name, fresh in remembered.items()}
        state.slots.pop(MEAN_SQUARE, None)
        expected, received = set(config.optimizer.new_slots(0)), set(state.slots)
        if expected != received:
            raise CheckpointError(
                f"{self.checkpoint}: expected the state of {config.optimizer.name} "
                f"({sorted(expected)}), received {sorted(received)}"
            )
        state.slots |= kept
        layout = manifest.layout
        blocks = DecayBlocks(
            stop - start,
            layout.decayed_within(start, stop),
            layout.l2_within(start, stop, config.l2, config.l2_depthwise),
        )
        momentum = config.model.batch_norm_momentum
        return ParameterShard(
            state, config.optimizer, blocks, momentum, manifest.step, compensation
        )

    def new_coordinator(self, shards: CoordinatorShards) -> Coordinator:
        """The coordinator, its ledger as of the checkpoint.

        Raises:
            TrainingError: the checkpoint's record positions are of another order or dataset.
        """
        config, manifest = self.config, read_manifest(self.checkpoint)
        dataset = self._dataset(manifest)
        total = total_records(dataset, config)
        return Coordinator(
            shards,
            RecordLedger.restore(
                manifest.ledger,
                total=total,
                lease_size=config.topology.leased_batches * config.input.batch_size,
            ),
            CheckpointWriter(
                self.run,
                manifest.layout,
                manifest.stream,
                shards,
                shard_count=config.topology.parameter_shards,
                keep=config.checkpoints.keep,
            ),
            UpdateRules(
                config.schedule,
                config.averaging.over(total_updates(dataset, config)),
                config.global_clipnorm,
                config.updates.compensation,
            ),
            config.failures.of_a_run(total, ceil(total / config.input.batch_size)),
            samples_per_checkpoint=config.checkpoints.every_samples,
            updates_per_row=config.updates_per_metrics_row,
            policy=self._policy(manifest.step),
            step=manifest.step,
        )

    def new_worker(
        self,
        name: str,
        shards: WorkerShards,
        coordinator: WorkerCoordinator,
        *,
        jit_compile: bool = False,
    ) -> "GradientWorker":
        """A worker with its model and its input pipeline. Loads TensorFlow.

        Args:
            jit_compile: compile the passes of all full batches with XLA; see ModelReplica.

        Raises:
            TrainingError: the dataset is another one by now.
        """
        import keras

        from manylabel.trainer.networks.build import build_model
        from manylabel.trainer.networks.losses import label_loss
        from manylabel.trainer.networks.replica import ModelReplica
        from manylabel.trainer.program.worker import GradientWorker
        from manylabel.trainer.records.batches import training_batches

        config, manifest = self.config, self.manifest
        dataset = self._dataset(manifest)
        # For dropout: other units on each worker, and after each restart. The first weights come
        # with the checkpoint.
        keras.utils.set_random_seed(crc32(f"{config.seed} {manifest.step} {name}".encode()))
        replica = ModelReplica(
            build_model(config.model, dataset.num_classes),
            manifest.layout,
            partial(label_loss, config=config.loss),
            config.topology.parameter_shards,
            config.model.batch_norm_momentum,
            compiled_batch_size=config.input.batch_size if jit_compile else None,
        )
        batches = training_batches(
            _leases(name, coordinator),
            record_order(dataset, config.input),
            dataset,
            config.input,
            config.model.input_size,
            partial(coordinator.report_bad_record, name),
        )
        return GradientWorker(name, batches, replica, shards, coordinator)

    def _policy(self, step: int) -> UpdatePolicy:
        updates, workers = self.config.updates, self.config.topology.workers
        if updates.trace:
            return Recorded(self.run / FOLDER / f"{step:08d}.jsonl", updates, workers, step)
        return updates.policy(workers, step)

    def _dataset(self, manifest: CheckpointManifest) -> Dataset:
        """The dataset, which may have been made anew since the plan was: workers start at any time.

        Raises:
            TrainingError: it is not the one that the checkpoint's record positions are of.
        """
        dataset = Dataset.open(self.dataset_root)
        check_stream(self.checkpoint, manifest.stream, dataset, self.config.input)
        return dataset


def record_order(dataset: Dataset, config: InputConfig) -> RecordOrder:
    """The run's record order, a function of the dataset and the settings."""
    sizes = [shard.records for shard in dataset.split(SplitName.TRAIN).shards]
    return RecordOrder(sizes, config.seed, config.shuffle_block, config.shuffle_mix)


def stream_identity(dataset: Dataset, config: InputConfig) -> StreamIdentity:
    """What the run's stream positions mean."""
    return StreamIdentity(
        dataset_digest=dataset.content_digest,
        seed=config.seed,
        shuffle_block=config.shuffle_block,
        shuffle_mix=config.shuffle_mix,
    )


def check_stream(
    checkpoint: Path, received: StreamIdentity, dataset: Dataset, config: InputConfig
) -> None:
    """Raises TrainingError when a checkpoint's record positions mean other records here."""
    expected = stream_identity(dataset, config)
    if received != expected:
        raise TrainingError(
            f"{checkpoint}: expected positions in {expected}, received {received}; go on with the "
            "dataset and seed that the run began with"
        )


def total_records(dataset: Dataset, config: TrainerConfig) -> int:
    """Records that the run reads in all, over its epochs."""
    return round(dataset.records(SplitName.TRAIN) * config.epochs)


def total_updates(dataset: Dataset, config: TrainerConfig) -> int:
    """Updates that these records make, if each batch is full, and each round."""
    gradients = config.updates.gradients_per_update(config.topology.workers)
    return ceil(total_records(dataset, config) / (config.input.batch_size * gradients))


def _leases(worker: str, coordinator: WorkerCoordinator) -> Iterator[tuple[int, int]]:
    while (lease := coordinator.lease(worker)) is not None:
        yield lease
