"""The whole distributed program: which actors there are and what each is given.

    GradientWorker 0..W-1 --stage, fetch--> ParameterShard 0..S-1
            |                                    ^
            +--lease, commit--> Coordinator -----+ apply, publish, save

Only this file, and those that find or start the cluster, know Ray. Handles implement
`trainer.plane.protocols`, so that the classes behind them cannot tell actors from plain objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import ray
from ray.actor import ActorHandle
from ray.exceptions import (
    ActorUnschedulableError,
    RayActorError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
)

from manylabel.trainer.errors import TrainingError
from manylabel.trainer.plane.coordinator import CoordinatorStatus
from manylabel.trainer.plane.optimizers import FloatVector
from manylabel.trainer.plane.protocols import Answers, GradientReport, Snapshot
from manylabel.trainer.plane.shard import UpdateId
from manylabel.trainer.program.memory import malloc_environment
from manylabel.trainer.program.plan import TrainingPlan
from manylabel.trainer.program.room import Resources
from manylabel.trainer.records.reader import BadRecordReport


class RayShards:
    """All shard actors; implements WorkerShards and CoordinatorShards.

    Ray runs the calls of one caller to one actor in the order they were made. So what the
    coordinator asks of every shard takes effect at the same place of each shard's history.
    """

    def __init__(self, actors: Sequence[ActorHandle]) -> None:
        self._actors = actors
        self._snapshot: Snapshot | None = None

    def stage(
        self, update: UpdateId, gradient: Sequence[FloatVector], statistics: Sequence[FloatVector]
    ) -> Answers:
        """See `WorkerShards.stage`."""
        return [
            actor.call.remote("stage", update, *slices)
            for actor, *slices in zip(self._actors, gradient, statistics, strict=True)
        ]

    def fetch(self, snapshot: Snapshot) -> list[tuple[FloatVector, FloatVector]]:
        """See `WorkerShards.fetch`: views of the node's object store, without a copy."""
        return ray.get(list(snapshot.answers))

    def apply(self, update: UpdateId, learning_rate: float, average_decay: float) -> None:
        """See `CoordinatorShards.apply`."""
        self._all("apply", update, learning_rate, average_decay)

    def discard(self, update: UpdateId) -> None:
        """See `CoordinatorShards.discard`."""
        self._all("discard", update)

    def dismiss(self, worker: str) -> None:
        """See `CoordinatorShards.dismiss`."""
        self._all("dismiss", worker)

    def publish(self, version: int) -> Snapshot:
        """See `CoordinatorShards.publish`: workers that ask at one version share one snapshot."""
        if self._snapshot is None or self._snapshot.version != version:
            self._snapshot = Snapshot(version, self._all("weights", version))
        return self._snapshot

    def save(self, paths: Sequence[Path], version: int) -> Answers:
        """See `CoordinatorShards.save`."""
        return [
            actor.call.remote("save", str(path), version)
            for actor, path in zip(self._actors, paths, strict=True)
        ]

    def settled(self, answers: Answers, *, wait: bool) -> bool:
        """See `CoordinatorShards.settled`."""
        timeout = None if wait else 0
        done, _ = ray.wait(list(answers), num_returns=len(answers), timeout=timeout)
        _get(done)
        return len(done) == len(answers)

    def _all(self, method: str, *arguments: Any) -> Answers:
        return [actor.call.remote(method, *arguments) for actor in self._actors]


class RayCoordinator:
    """The coordinator actor, as workers see it; implements WorkerCoordinator."""

    def __init__(self, actor: ActorHandle) -> None:
        self._actor = actor

    def lease(self, worker: str) -> tuple[int, int] | None:
        """See `WorkerCoordinator.lease`."""
        return ray.get(self._actor.call.remote("lease", worker))

    def snapshot(self, worker: str) -> Snapshot | None:
        """See `WorkerCoordinator.snapshot`."""
        return ray.get(self._actor.call.remote("snapshot", worker))

    def commit(self, report: GradientReport, squares: Answers) -> Snapshot | None:
        """See `WorkerCoordinator.commit`.

        The shards' answers go on as arguments: Ray delivers the call once they are there, which
        spares the worker a round trip.
        """
        return ray.get(self._actor.commit.remote(report, *squares))

    def report_bad_record(self, worker: str, record: BadRecordReport) -> None:
        """See `WorkerCoordinator.report_bad_record`."""
        ray.get(self._actor.call.remote("report_bad_record", worker, record))


# The actors make their parts in `start` and `run`, not in their constructors: Ray hands on an
# exception of a method as it is, but that of a constructor only as text.


class _ShardActor:
    def start(self, plan: TrainingPlan, index: int) -> None:
        threads = plan.config.topology.threads_per_shard
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        self._shard = plan.new_shard(index)

    def call(self, method: str, *arguments: Any) -> Any:
        return getattr(self._shard, method)(*arguments)


class _CoordinatorActor:
    def start(self, plan: TrainingPlan, shards: RayShards) -> None:
        self._coordinator = plan.new_coordinator(shards)

    def call(self, method: str, *arguments: Any) -> Any:
        return getattr(self._coordinator, method)(*arguments)

    def commit(self, report: GradientReport, *squares: float) -> Snapshot | None:
        return self._coordinator.commit(report, squares)


class _WorkerActor:
    def run(
        self,
        plan: TrainingPlan,
        name: str,
        threads: int,
        shards: RayShards,
        coordinator: RayCoordinator,
    ) -> int:
        from manylabel.trainer.program.device import configure_device

        on_gpu = configure_device(threads, plan.config.precision)
        return plan.new_worker(name, shards, coordinator, jit_compile=on_gpu).run()


@dataclass(frozen=True)
class WorkerEnd:
    """A worker that stopped.

    Attributes:
        death: why it died; None if it had nothing left to do.
        error: the exception it died of; None if its process was lost.
    """

    worker: str
    death: str | None
    error: Exception | None = None


class Topology:
    """The running program of one plan: starts shards and coordinator, then workers as asked.

    Args:
        share: what a worker takes of its node and computes with.

    Raises:
        TrainingError: a part cannot be made from the plan.
    """

    def __init__(self, plan: TrainingPlan, share: Resources) -> None:
        config = plan.config.topology
        self._plan = plan
        self._share = share
        shard = ray.remote(_ShardActor).options(num_cpus=0, scheduling_strategy="SPREAD")
        self._shard_actors = [shard.remote() for _ in range(config.parameter_shards)]
        self._shards = RayShards(self._shard_actors)
        self._coordinator = ray.remote(_CoordinatorActor).options(num_cpus=0).remote()
        self._workers: dict[Any, tuple[str, ActorHandle]] = {}
        self._started = 0
        _get([actor.start.remote(plan, i) for i, actor in enumerate(self._shard_actors)])
        _get(self._coordinator.start.remote(plan, self._shards))

    @property
    def workers(self) -> list[str]:
        """Names of the workers that run."""
        return [name for name, _ in self._workers.values()]

    def start_worker(self) -> str:
        """Starts one more worker; its name."""
        name = f"worker-{self._started}"
        self._started += 1
        actor = ray.remote(_WorkerActor).options(**worker_options(self._share)).remote()
        threads = max(1, int(self._share.cpus))
        coordinator = RayCoordinator(self._coordinator)
        run = actor.run.remote(self._plan, name, threads, self._shards, coordinator)
        self._workers[run] = name, actor
        return name

    def kill_worker(self, worker: str) -> None:
        """Kills a worker that hangs; it is then among the ended ones."""
        for name, actor in self._workers.values():
            if name == worker:
                ray.kill(actor)

    def ended_workers(self, timeout: float) -> list[WorkerEnd]:
        """Waits up to `timeout` seconds for a worker to end.

        Raises:
            TrainingError: a worker met the loss of a shard or of the coordinator.
        """
        if not self._workers:
            return []
        done, _ = ray.wait(list(self._workers), num_returns=1, timeout=timeout)
        ends = []
        for run in done:
            name, _ = self._workers.pop(run)
            ends.append(_how_it_ended(name, run))
        return ends

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the coordinator.

        Raises:
            TrainingError: the coordinator, or a shard that it asked, is gone.
        """
        return _get(self._coordinator.call.remote(method, *arguments))

    def status(self) -> CoordinatorStatus:
        """See `Coordinator.status`."""
        status: CoordinatorStatus = self.call("status")
        return status

    def close(self) -> None:
        """Ends every process of the program."""
        workers = [actor for _, actor in self._workers.values()]
        for actor in [*workers, self._coordinator, *self._shard_actors]:
            ray.kill(actor)


def worker_options(share: Resources) -> dict[str, Any]:
    """Ray's options of a worker's actor."""
    # Ray shows a worker the GPUs that it has, but to one that has none it leaves all to see.
    environment = malloc_environment() | ({} if share.gpus else {"CUDA_VISIBLE_DEVICES": ""})
    return {
        "num_cpus": share.cpus,
        "num_gpus": share.gpus,
        "runtime_env": {"env_vars": environment},
    }


def _get(answers: Any) -> Any:
    """ray.get, with the exception of the method called instead of Ray's wrapping of it."""
    try:
        return ray.get(answers)
    except RayTaskError as error:
        if isinstance(error.cause, RayError):
            raise _what_became(error.cause) from error
        raise error.cause from None
    except RayError as error:
        raise _what_became(error) from error


def _how_it_ended(worker: str, run: Any) -> WorkerEnd:
    """What ended a worker's run.

    Raises:
        TrainingError: the loss of a shard or of the coordinator.
    """
    try:
        ray.get(run)
    except RayTaskError as error:
        if isinstance(error.cause, RayError):
            raise _what_became(error.cause) from error
        return WorkerEnd(worker, f"{type(error.cause).__name__}: {error.cause}", error.cause)
    except RayError as error:
        if _never_was(error):
            never_was = _what_became(error)
            return WorkerEnd(worker, str(never_was), never_was)
        return WorkerEnd(worker, str(error).splitlines()[0])  # its process or its node is gone
    return WorkerEnd(worker, None)


def _what_became(error: RayError) -> TrainingError:
    """What to tell of an actor that does not answer: a lost one can be had again."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = lines or [type(error).__name__]
    if _never_was(error):
        return TrainingError(
            f"a process of the program could not be created ({lines[-1]}); every node needs the "
            "same manylabel, Python and Ray as this machine, installed or on its PYTHONPATH"
        )
    return TrainingError(
        f"a parameter shard or the coordinator was lost ({lines[0]}); "
        "run the same command again to go on from the last checkpoint"
    )


def _never_was(error: RayError) -> bool:
    return isinstance(error, ActorUnschedulableError | RuntimeEnvSetupError) or (
        isinstance(error, RayActorError) and error.actor_init_failed
    )
