"""The whole distributed program: which actors there are, where, and what each is given.

    GradientWorker 0..W-1 --stage, fetch--> ParameterShard 0..S-1
            |                                    ^
            +--lease, commit--> Coordinator -----+ apply, publish, save

Of the trainer, only this package knows Ray.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from manylabel.cluster.head import PATIENCE_SECONDS, Head
from manylabel.cluster.leaving import within
from manylabel.cluster.ray_cluster import ray_logs
from manylabel.storage.jobs import ProcessPlace
from manylabel.storage.watched_time import WatchedTime
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.plane.status import CoordinatorStatus
from manylabel.trainer.program.losses import (
    WorkerEnd,
    how_it_ended,
    lost_head,
    plain_answer,
    unanswered,
)
from manylabel.trainer.program.memory import malloc_environment
from manylabel.trainer.program.pings import Pings
from manylabel.trainer.program.placement import Placement
from manylabel.trainer.program.plan import TrainingPlan
from manylabel.trainer.program.processes import (
    CoordinatorProcess,
    GradientWorkerProcess,
    ParameterShardProcess,
    RayCoordinator,
    RayShards,
)
from manylabel.trainer.program.room import Resources, living_nodes
from manylabel.trainer.program.silences import Silences

_LOOK_SECONDS = 5.0  # between two, while an answer is waited for: is the cluster still there?
# The coordinator may wait for shards that write a checkpoint to slow storage, and a shard for
# memory that others hold. That a process or a node is gone, Ray tells long before: its health
# checks give a node about a minute.
_SILENCE_SECONDS = 600.0
_SECONDS_TO_KILL = 10.0  # that Ray takes to ask its head for it; at once, unless that hangs


@dataclass
class _Part:
    """A process of the program. `node`: Ray's id of where it runs, or was sent to."""

    name: str
    actor: ActorHandle
    node: str
    gpus: float = 0.0
    process: int | None = None  # its id there, once it has said so
    where: Any = None  # its answer, until it has said where it runs
    ended: bool = False
    kill_began: float | None = None  # while Ray is asked for it; of time.monotonic


class Topology:
    """The running program of one plan: starts shards and coordinator, then workers as asked.

    Args:
        share: what a worker takes of its node and computes with.
        silences: who is waited for.
        logs: the folder that each process prints to a file of; None: nowhere of ours.

    Raises:
        TrainingError: a part cannot be made from the plan.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        share: Resources,
        placement: Placement,
        silences: Silences,
        *,
        logs: Path | None = None,
    ) -> None:
        self._plan, self._share, self._placement, self._logs = plan, share, placement, logs
        self._silences = silences
        self._addresses = {node.node_id: node.address for node in living_nodes()}
        # No other job has it: not of a run of the same name elsewhere, nor the attempt before this
        # one, whose actors may be dying still.
        self._namespace = f"manylabel-{secrets.token_hex(8)}"
        self._head = Head(ray.get_runtime_context().gcs_address, lost_head)
        self._parts: dict[str, _Part] = {}
        self._runs: dict[Any, _Part] = {}
        self._started = 0
        silences.describe = self.describe  # called by another thread: all that it reads is there
        try:
            shards = [
                self._start(ParameterShardProcess, f"shard-{i}", node, memory=placement.shard_bytes)
                for i, node in enumerate(placement.shards)
            ]
            self._shards = RayShards([part.actor for part in shards])
            self._pings = Pings({part.name: part.actor for part in shards}, silences)
            coordinator = self._start(
                CoordinatorProcess,
                "coordinator",
                placement.coordinator,
                max_concurrency=coordinator_threads(plan.config),
            )
            self._coordinator = coordinator.actor
            self._get(
                {part.actor.start.remote(plan, i, logs): part for i, part in enumerate(shards)}
            )
            self._get({self._coordinator.start.remote(plan, self._shards, logs): coordinator})
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> list[str]:
        """Names of the workers that run."""
        return [part.name for part in self._runs.values()]

    @property
    def logs(self) -> Path | None:
        """Where the processes print, or those of this machine."""
        return self._logs or ray_logs()

    def start_worker(self) -> str:
        """Starts one more worker; its name. The first ones go where they were planned to, one that
        replaces another to any node with room."""
        name, planned = f"worker-{self._started}", self._placement.workers
        node = planned[self._started] if self._started < len(planned) else None
        self._started += 1
        part = self._start(
            GradientWorkerProcess, name, node, gpus=self._share.gpus, **worker_options(self._share)
        )
        threads = max(1, int(self._share.cpus))
        coordinator = RayCoordinator(self._coordinator)
        run = part.actor.run.remote(
            self._plan, name, threads, self._shards, coordinator, self._logs
        )
        self._runs[run] = part
        return name

    def shards_answer(self) -> bool:
        """Whether each shard answers at once."""
        return self._pings.answer_at_once()

    def kill_worker(self, worker: str) -> None:
        """Kills a worker that hangs; it is then among the ended ones. One whose kill is under way
        is left to that.

        Raises:
            LostPartError: it is under way for long, as the cluster's head hangs.
        """
        part = self._parts[worker]
        kill_began = part.kill_began  # the kill's end, in its own thread, sets it to None
        if kill_began is not None:
            seconds = time.monotonic() - kill_began
            if seconds > PATIENCE_SECONDS:
                raise lost_head(
                    f"the head of the Ray cluster has not ended {self._describe(part)} for "
                    f"{seconds:.0f} s"
                )
            return
        part.kill_began = time.monotonic()

        def kill() -> None:
            try:
                ray.kill(part.actor)
            finally:
                part.kill_began = None

        within(_SECONDS_TO_KILL, kill)

    def ended_workers(self, timeout: float) -> list[WorkerEnd]:
        """Waits up to `timeout` seconds for a worker to end.

        Raises:
            LostPartError: a worker met the loss of a shard or of the coordinator.
        """
        if not self._runs:
            return []
        done, _ = ray.wait(list(self._runs), num_returns=1, timeout=timeout)
        ends = []
        for run in done:
            part = self._runs.pop(run)
            part.ended = True
            ends.append(how_it_ended(part.name, run, self._name_of, self.logs))
        return ends

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the coordinator.

        Raises:
            LostPartError: the coordinator, a shard that it asked, or the cluster is gone.
        """
        question = self._coordinator.call.remote(method, *arguments)
        (answer,) = self._get({question: self._parts["coordinator"]})
        return answer

    def status(self) -> CoordinatorStatus:
        """See `Coordinator.status`."""
        status: CoordinatorStatus = self.call("status")
        return status

    def places(self, applied: Mapping[str, int]) -> tuple[ProcessPlace, ...]:
        """Who runs where.

        Args:
            applied: records of each worker's applied gradients.
        """
        self._note_where_they_run()
        return tuple(
            ProcessPlace(
                name=part.name,
                node=self._addresses.get(part.node, part.node),
                gpus=0.0 if part.ended else part.gpus,
                images=applied.get(part.name, 0),
                ended=part.ended,
            )
            for part in self._parts.values()
        )

    def close(self) -> None:
        """Ends every process of the program."""
        alive = [part.actor for part in self._parts.values() if not part.ended]
        within(_SECONDS_TO_KILL, lambda: [ray.kill(actor) for actor in alive])

    def ping(self) -> None:
        """Asks the shards now and then whether they are there; of the coordinator its status tells.

        Raises:
            LostPartError: one has not answered for long.
        """
        silent = self._pings.look()
        if silent is not None and self._silences.seconds(silent) > _SILENCE_SECONDS:
            raise unanswered(self.describe(silent), _SILENCE_SECONDS)

    def _start(
        self, kind: type, name: str, node: str | None, *, gpus: float = 0.0, **options: Any
    ) -> _Part:
        actor = (
            ray.remote(kind)
            .options(
                name=f"{self._plan.run.name}/{name}",
                namespace=self._namespace,
                # Soft: a node that is gone by now is no reason to wait for it. Not so the
                # coordinator's, which is the driver's: Ray takes another now and then, also one
                # that is lost and not known to be.
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=name != "coordinator")
                if node
                else "DEFAULT",
                **{"num_cpus": 0, **options},
            )
            .remote()
        )
        part = _Part(name, actor, node or "", gpus, where=actor.where.remote())
        self._parts[name] = part
        return part

    def _note_where_they_run(self) -> None:
        asked = {part.where: part for part in self._parts.values() if part.where is not None}
        if not asked:
            return
        said, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0)
        for where in said:
            part = asked[where]
            part.where = None
            try:
                part.node, part.process = ray.get(where)
            except ray.exceptions.RayError:
                continue  # it is lost, as will be told of its run
            if part.node not in self._addresses:  # it joined meanwhile
                self._addresses |= {node.node_id: node.address for node in living_nodes()}

    def _get(self, asked: Mapping[Any, _Part]) -> list[Any]:
        """The answers of parts, each to its question, for as long as the cluster is there."""
        watched = WatchedTime(2 * _LOOK_SECONDS, time.monotonic)
        with self._silences.waiting(*(part.name for part in asked.values())):
            while True:
                self._head.answers()
                try:
                    return list(plain_answer(list(asked), self._name_of, timeout=_LOOK_SECONDS))
                except GetTimeoutError:
                    if watched() > _SILENCE_SECONDS:
                        _, waited_for = ray.wait(list(asked), num_returns=len(asked), timeout=0)
                        part = asked[(waited_for or list(asked))[0]]
                        raise unanswered(self._describe(part), _SILENCE_SECONDS) from None

    def _name_of(self, actor: str) -> str | None:
        for part in self._parts.values():
            if part.actor._actor_id.hex() == actor:
                return self._describe(part)
        return None

    def describe(self, name: str) -> str:
        """What a part is told as; another name as it is."""
        return self._describe(self._parts[name]) if name in self._parts else name

    def _describe(self, part: _Part) -> str:
        address = self._addresses.get(part.node)
        where = f"{part.name} on {address}" if address else part.name
        return where if part.process is None else f"{where} (process {part.process})"


def coordinator_threads(config: TrainerConfig) -> int:
    """How many calls the coordinator's process has in hand at a time: those of workers that wait,
    where they may have to, and some beside."""
    return 2 * config.topology.workers + 8 if config.updates.waits else 1


def worker_options(share: Resources) -> dict[str, Any]:
    """Ray's options of a worker's actor."""
    # Ray shows a worker the GPUs that it has, but to one that has none it leaves all to see.
    environment = malloc_environment() | ({} if share.gpus else {"CUDA_VISIBLE_DEVICES": ""})
    return {
        "num_cpus": share.cpus,
        "num_gpus": share.gpus,
        "runtime_env": {"env_vars": environment},
    }
