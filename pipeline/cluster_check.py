"""May jobs be given to a cluster? What speaks against it, a line each, with what to do."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from pydantic import ValidationError

from manylabel.cluster.facts import ClusterFacts, FolderFacts, NodeFacts, Seen
from manylabel.pipeline.config import load_settings
from manylabel.pipeline.errors import CommandError
from manylabel.storage.problems import problems
from manylabel.trainer.config import TopologyConfig

LEAST_OPEN_FILES = 1024
"""Ray's processes hang without a word where they get no more; 64 do not suffice for a node."""

_TOKEN_ADVICE = (
    "start Ray on every node with RAY_AUTH_MODE=token and the same RAY_AUTH_TOKEN "
    "(docs/security.md)"
)


class Severity(StrEnum):
    """ERROR: no job is given to it. WARNING: a job may fail or be slow."""

    ERROR = "error"
    WARNING = "warning"


class Kind(StrEnum):
    """What a finding is about."""

    OPEN_CLUSTER = "open cluster"
    OPEN_AGENT = "open agent"
    SILENT_NODE = "silent node"
    RAY_VERSION = "Ray version"
    PYTHON_VERSION = "Python version"
    CODE_VERSION = "code version"
    NOT_INSTALLED = "not installed"
    FOLDER = "folder"
    ROOM = "room"
    LIMITS = "limits"


class Finding(NamedTuple):
    """Something that speaks against a cluster.

    Attributes:
        what: what was expected and what was found.
        nodes: addresses of the nodes that it is about; none: the cluster.
        advice: what to do.
    """

    severity: Severity
    kind: Kind
    what: str
    nodes: tuple[str, ...]
    advice: str

    def line(self) -> str:
        """All of it."""
        where = f"{', '.join(self.nodes)}: " if self.nodes else ""
        return f"{where}{self.what}; {self.advice}"


def wanted_workers(
    config: str | None, workers: int | None, cpus: float | None, gpus: float | None
) -> TopologyConfig | None:
    """What room is asked for, by settings or by options; None: for nothing.

    Args:
        cpus, gpus: of each worker.

    Raises:
        SettingsError, CommandError: the settings, or what is asked, make no sense.
    """
    options = {"workers": workers, "cpus_per_worker": cpus, "gpus_per_worker": gpus}
    given = {key: value for key, value in options.items() if value is not None}
    if config is not None:
        if given:
            raise CommandError("expected settings, or --workers, --cpus and --gpus; received both")
        return load_settings(config).trainer.topology
    if not given:
        return None
    if workers is None:
        raise CommandError("expected --workers beside --cpus and --gpus, which are of each worker")
    try:
        return TopologyConfig.model_validate(given)
    except ValidationError as error:
        raise CommandError(problems(error, given, TopologyConfig)[0]) from error


def judge(facts: ClusterFacts, wanted: TopologyConfig | None = None) -> list[Finding]:
    """What speaks against giving a job to the cluster, errors first.

    Args:
        wanted: the workers that there must be room for; None: nothing is asked.
    """
    found = [
        *_doors(facts),
        *_silent_nodes(facts),
        *_versions(facts),
        *_folders(facts),
        *_limits(facts),
        *(() if wanted is None else _room(facts.nodes, wanted)),
    ]
    merged: dict[tuple[Severity, Kind, str, str], list[str]] = defaultdict(list)
    for each in found:
        merged[each.severity, each.kind, each.what, each.advice] += each.nodes
    findings = [
        Finding(severity, kind, what, tuple(nodes), advice)
        for (severity, kind, what, advice), nodes in merged.items()
    ]
    return sorted(findings, key=lambda finding: finding.severity is Severity.WARNING)


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether no job should be given to the cluster."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def _doors(facts: ClusterFacts) -> Iterator[Finding]:
    if not facts.asks_for_token:
        yield Finding(
            Severity.ERROR,
            Kind.OPEN_CLUSTER,
            "the cluster asks for no token: whoever reaches it runs code on it",
            (),
            _TOKEN_ADVICE,
        )
    for node, seen in _seen(facts):
        if seen.agent_is_open:
            yield Finding(
                Severity.ERROR,
                Kind.OPEN_AGENT,
                f"the node's agent (port {seen.agent_port}) asks for no token: whoever reaches it "
                "runs code there",
                (node.address,),
                _TOKEN_ADVICE,
            )


def _silent_nodes(facts: ClusterFacts) -> Iterator[Finding]:
    if not facts.nodes:
        yield Finding(
            Severity.ERROR,
            Kind.SILENT_NODE,
            "the cluster has no node",
            (),
            "start Ray on a node: ray start --address=HEAD:6379",
        )
    for node in facts.nodes:
        if node.seen is None:
            yield Finding(
                Severity.ERROR,
                Kind.SILENT_NODE,
                f"the node could not be looked at: {node.problem}",
                (node.address,),
                "try again if it is only busy; else look at its Ray and its network, or take it "
                "out of the cluster (`ray stop` there)",
            )


def _versions(facts: ClusterFacts) -> Iterator[Finding]:
    here = facts.here
    for node, seen in _seen(facts):
        at = (node.address,)
        if seen.ray != here.ray:
            yield Finding(
                Severity.ERROR,
                Kind.RAY_VERSION,
                f"expected Ray {here.ray} as on this machine, it has {seen.ray}",
                at,
                "install the same version on all of them",
            )
        if seen.python != here.python:
            close = _minor(seen.python) == _minor(here.python)
            yield Finding(
                Severity.WARNING if close else Severity.ERROR,
                Kind.PYTHON_VERSION,
                f"expected Python {here.python} as on this machine, it has {seen.python}",
                at,
                "a job should run, and not differ in more than this"
                if close
                else "use the same Python on all of them; objects do not travel between two",
            )
        if seen.package is None:
            yield Finding(
                Severity.WARNING,
                Kind.NOT_INSTALLED,
                "manylabel is not installed there",
                at,
                f"install {here.package}, or have its dependencies there: a submission then brings "
                "the code along",
            )
        elif seen.package.version != here.package:
            yield Finding(
                Severity.ERROR,
                Kind.CODE_VERSION,
                f"expected manylabel {here.package} as on this machine, it has "
                f"{seen.package.version} in {seen.package.location}",
                at,
                "install the same version on all of them",
            )


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _folders(facts: ClusterFacts) -> Iterator[Finding]:
    for node, seen in _seen(facts):
        for folder in seen.folders:
            if (wrong := _folder_problem(folder)) is not None:
                yield Finding(
                    Severity.ERROR,
                    Kind.FOLDER,
                    f"{folder.path} {wrong[0]}",
                    (node.address,),
                    wrong[1],
                )


def _folder_problem(folder: FolderFacts) -> tuple[str, str] | None:
    """What it is, and what to do; None if it is as it should be."""
    mount = "mount the same storage at this path on every node"
    if not folder.exists:
        return "is not there", mount
    if folder.same is False:
        return "is not shared: what the head's node writes in it is not seen there", mount
    if folder.problem is not None:
        return (
            f"cannot be used: {folder.problem}",
            "let the user that Ray runs as read and write it",
        )
    return None


def _limits(facts: ClusterFacts) -> Iterator[Finding]:
    for node, seen in _seen(facts):
        shared, store = seen.shared_memory_bytes, node.total.object_store_bytes
        if shared is not None and shared < store:
            yield Finding(
                Severity.WARNING,
                Kind.LIMITS,
                f"/dev/shm holds {_megabytes(shared)}, less than Ray's object store of "
                f"{_megabytes(store)}, which therefore lies on a disk",
                (node.address,),
                "give the container more (--shm-size), or the node a smaller --object-store-memory",
            )
        if seen.open_files < LEAST_OPEN_FILES:
            yield Finding(
                Severity.WARNING,
                Kind.LIMITS,
                f"a process may open {seen.open_files:,} files, fewer than {LEAST_OPEN_FILES:,}",
                (node.address,),
                "raise `ulimit -n` before `ray start` there",
            )


def _room(nodes: Sequence[NodeFacts], wanted: TopologyConfig) -> Iterator[Finding]:
    """By the rules that training places its workers by."""
    from manylabel.trainer.program.room import Resources, gpus_per_worker, worker_share

    usable = [node for node in nodes if node.seen is not None]
    if not usable:  # which is told
        return
    whole = [Resources(node.total.cpus, node.total.gpus) for node in usable]
    free = [Resources(node.free.cpus, node.free.gpus) for node in usable]
    gpus = gpus_per_worker(wanted, whole)
    if worker_share(wanted, free, gpus) is not None:
        return
    fits_when_idle = worker_share(wanted, whole, gpus) is not None
    found = ", ".join(
        f"{node.address} {now.cpus:g} of {all_.cpus:g} cores and {now.gpus:g} of {all_.gpus:g} GPUs"
        for node, now, all_ in zip(usable, free, whole, strict=True)
    )
    yield Finding(
        Severity.ERROR,
        Kind.ROOM,
        f"expected room for {wanted.workers:,} workers with {wanted.cpus_per_worker or 1:g} cores "
        f"and {gpus:g} GPUs each; free are: {found}",
        (),
        "wait for the other jobs there, or lower trainer.topology.workers"
        if fits_when_idle
        else "lower trainer.topology.workers, cpus_per_worker or gpus_per_worker, or add nodes",
    )


def _seen(facts: ClusterFacts) -> Iterator[tuple[NodeFacts, Seen]]:
    for node in facts.nodes:
        if node.seen is not None:
            yield node, node.seen


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
