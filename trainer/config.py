"""The settings of a training run. Reading them loads no TensorFlow."""

import enum
from collections.abc import Mapping
from typing import Any

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from manylabel.trainer.networks.config import ModelConfig, XceptionConfig, default_l2
from manylabel.trainer.networks.head_config import NetworkConfig
from manylabel.trainer.networks.loss_config import LossConfig
from manylabel.trainer.plane.failures import FailureConfig
from manylabel.trainer.plane.optimizers import Optimizer, RMSprop
from manylabel.trainer.plane.policies.config import Asynchronous, Synchronous, UpdateConfig
from manylabel.trainer.plane.schedules import ExponentialDecay, PolyakAverage
from manylabel.trainer.records.config import InputConfig
from manylabel.trainer.section import TrainerSection


class Precision(enum.StrEnum):
    """The type that the network computes with; its weights are float32 either way."""

    FLOAT32 = "float32"
    BFLOAT16 = "mixed_bfloat16"  # needs no loss scaling, unlike float16: it has float32's range


class TopologyConfig(TrainerSection):
    """How many processes of each kind, and what each may use."""

    workers: int = Field(
        1, ge=1, description="gradient workers; the paper had one on each of 60 GPUs"
    )
    parameter_shards: int = Field(
        1, ge=1, description="processes that hold the parameters; open in the paper"
    )
    threads_per_shard: int = Field(1, ge=1, description="cores that one shard's update uses")
    gpus_per_worker: float | None = Field(
        None,
        ge=0,
        description="GPUs, whole ones or a fraction of one; none: one where there are GPUs, "
        "0: the worker sees none",
    )
    cpus_per_worker: float | None = Field(
        None, gt=0, description="cores a worker computes with; none: an equal share of all"
    )
    leased_batches: int = Field(
        4, ge=1, description="batches' worth of records that a worker takes at a time"
    )

    @field_validator("gpus_per_worker")
    @classmethod
    def _of_one_gpu_or_whole(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus % 1:
            raise ValueError("expected a whole number of GPUs, or a fraction of one")
        return gpus


class CheckpointConfig(TrainerSection):
    """When to keep the state of the run."""

    every_samples: int = Field(
        1_000_000, gt=0, description="records between checkpoints; there is one at the end anyway"
    )
    keep: int | None = Field(
        5,
        ge=1,
        description="newest checkpoints that stay; none: all. Champions, reviewed "
        "ones and those that wait for a scheduled evaluation stay beside them",
    )


class TrainerConfig(TrainerSection):
    """Everything that decides how a run trains."""

    model: ModelConfig = XceptionConfig()
    loss: LossConfig = LossConfig()
    input: InputConfig = InputConfig()
    optimizer: Optimizer = RMSprop()
    schedule: ExponentialDecay = ExponentialDecay()
    averaging: PolyakAverage = PolyakAverage()
    l2: float = Field(
        NetworkConfig.DEFAULT_L2,
        ge=0,
        description="l2 * sum(w^2) over all kernels is added to the loss; left out: the network's "
        "own; paper, section 4.3: 1e-5 for Xception, 4e-5 for Inception V3. That it means the "
        "whole sum, as Keras has it, and not TensorFlow's half of it, is open",
    )
    l2_depthwise: float | None = Field(
        None,
        ge=0,
        description="instead of l2 for depthwise kernels; none: the same. Not stated in the paper; "
        "MobileNet's, section 3.2: little or none, since they have so few parameters",
    )
    global_clipnorm: float | None = Field(
        None,
        gt=0,
        description="an update's gradient, without the L2 term, is scaled down to this L2 norm if "
        "its own is larger, as tf.clip_by_global_norm; none: it is not. The paper mentions none; "
        "Inception V3's authors used 2.0",
    )
    epochs: float = Field(
        1.0, gt=0, description="passes over the training records; may be a fraction"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of the first weights and of dropout")
    precision: Precision = Field(Precision.FLOAT32, description="what the network computes with")
    jit_compile: bool | None = Field(
        None,
        description="compile the network's passes with XLA; none: where a worker has a GPU. Full "
        "Xception is then several times as fast there, after a minute or two of compiling",
    )
    topology: TopologyConfig = TopologyConfig()
    updates: UpdateConfig = Asynchronous()
    checkpoints: CheckpointConfig = CheckpointConfig()
    updates_per_metrics_row: int = Field(
        20, ge=1, description="updates that one row of the metrics log sums up"
    )
    failures: FailureConfig = FailureConfig()

    @field_validator("updates", mode="before")
    @classmethod
    def _asynchronous_unless_named(cls, updates: Any) -> Any:
        return {"name": "asynchronous", **updates} if isinstance(updates, Mapping) else updates

    @field_validator("updates")
    @classmethod
    def _leaves_workers(
        cls, updates: Asynchronous | Synchronous, info: ValidationInfo
    ) -> Asynchronous | Synchronous:
        # It is there only as `topology` stands before `updates` in the class; None: it is invalid.
        topology = info.data.get("topology")
        if topology is None or not isinstance(updates, Synchronous):
            return updates
        if updates.backup_workers >= topology.workers:
            raise ValueError(
                f"expected fewer backup_workers than trainer.topology.workers = "
                f"{topology.workers}, received {updates.backup_workers}"
            )
        return updates

    @model_validator(mode="before")
    @classmethod
    def _with_the_networks_l2(cls, tree: Any) -> Any:
        if isinstance(tree, Mapping) and "l2" not in tree:
            return {**tree, "l2": default_l2(tree.get("model"))}
        return tree
