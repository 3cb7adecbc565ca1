"""What speaks against a cluster."""

import re

import pytest

from manylabel.cluster.facts import (
    ClusterFacts,
    FolderFacts,
    NodeFacts,
    Package,
    Resources,
    Seen,
    Versions,
)
from manylabel.pipeline.cluster_check import Kind, Severity, has_errors, judge, wanted_workers
from manylabel.pipeline.errors import CommandError, SettingsError
from manylabel.trainer.config import TopologyConfig

HERE = Versions(python="3.11.7", ray="2.60.0", package="0.1.0")
FOUR_CORES = Resources(cpus=4, object_store_bytes=1_000_000_000)


def node(address="10.0.0.1", total=FOUR_CORES, free=None, **values):
    seen = Seen(
        **{
            "python": "3.11.7",
            "ray": "2.60.0",
            "package": Package(version="0.1.0", location="/there"),
            "agent": 401,
            "agent_port": 52365,
            "shared_memory_bytes": 2_000_000_000,
            "open_files": 65_536,
            **values,
        }
    )
    return NodeFacts(address=address, total=total, free=free or total, seen=seen)


def cluster(*nodes, asks_for_token=True):
    return ClusterFacts(
        address="http://10.0.0.1:8265",
        asks_for_token=asks_for_token,
        nodes=nodes,
        here=HERE,
        seconds=3.0,
    )


def only_finding(facts, wanted=None):
    (finding,) = judge(facts, wanted)
    assert "\n" not in finding.line()
    assert finding.line().endswith(f"; {finding.advice}")
    return finding


def folder(**values):
    return FolderFacts(
        **{"path": "/shared", "exists": True, "problem": None, "same": True} | values
    )


def test_nothing_speaks_against_a_good_one():
    facts = cluster(node(folders=(folder(), folder(path="/read", same=None))), node("10.0.0.2"))
    assert judge(facts) == []
    assert judge(facts, TopologyConfig(workers=8, cpus_per_worker=1)) == []
    assert not has_errors([])


def test_an_open_cluster():
    finding = only_finding(cluster(node(), asks_for_token=False))
    assert (finding.severity, finding.kind) == (Severity.ERROR, Kind.OPEN_CLUSTER)
    assert finding.line().startswith("the cluster asks for no token: whoever reaches it runs code")
    assert "RAY_AUTH_MODE=token and the same RAY_AUTH_TOKEN" in finding.advice


def test_an_open_agent():
    finding = only_finding(cluster(node(), node("10.0.0.2", agent=405, agent_port=7)))
    assert (finding.severity, finding.kind) == (Severity.ERROR, Kind.OPEN_AGENT)
    assert finding.line().startswith("10.0.0.2: the node's agent (port 7) asks for no token")


def test_a_node_without_an_agent_has_no_such_door():
    assert judge(cluster(node(agent=None))) == []


def test_a_node_that_does_not_answer():
    silent = NodeFacts(
        address="10.0.0.2", total=FOUR_CORES, free=FOUR_CORES, problem="no answer within 10 s"
    )
    finding = only_finding(cluster(node(), silent))
    assert (finding.severity, finding.kind) == (Severity.ERROR, Kind.SILENT_NODE)
    assert "10.0.0.2: the node could not be looked at: no answer within 10 s" in finding.line()
    wanted = TopologyConfig(workers=5)
    # Where a node answers, the silent one has no room that can be counted on; where none does, that
    # is what is wrong.
    for nodes, kinds in (
        ((node(), silent), {Kind.SILENT_NODE, Kind.ROOM}),
        ((silent,), {Kind.SILENT_NODE}),
    ):
        assert {each.kind for each in judge(cluster(*nodes), wanted)} == kinds


def test_a_cluster_without_nodes():
    assert "has no node; start Ray" in only_finding(cluster()).line()


@pytest.mark.parametrize(
    ("seen", "kind", "severity", "told"),
    [
        ({"ray": "2.59.1"}, Kind.RAY_VERSION, Severity.ERROR, r"Ray 2.60.0 .* it has 2.59.1"),
        ({"ray": None}, Kind.RAY_VERSION, Severity.ERROR, r"Ray 2.60.0 .* it has None"),
        ({"python": "3.12.7"}, Kind.PYTHON_VERSION, Severity.ERROR, r"3.11.7 .* it has 3.12.7"),
        ({"python": "3.1.7"}, Kind.PYTHON_VERSION, Severity.ERROR, r"3.11.7 .* it has 3.1.7"),
        ({"python": "3.11.9"}, Kind.PYTHON_VERSION, Severity.WARNING, r"3.11.7 .* it has 3.11.9"),
        (
            {"package": Package(version="0.1.0+abc", location="/x")},
            Kind.CODE_VERSION,
            Severity.ERROR,
            r"manylabel 0.1.0 as on this machine, it has 0.1.0\+abc in /x; install the same",
        ),
        ({"package": None}, Kind.NOT_INSTALLED, Severity.WARNING, r"not installed there; install"),
    ],
)
def test_versions_that_differ(seen, kind, severity, told):
    finding = only_finding(cluster(node(), node("10.0.0.2", **seen)))
    assert (finding.kind, finding.severity, finding.nodes) == (kind, severity, ("10.0.0.2",))
    assert re.search(told, finding.line()), finding.line()
    assert has_errors([finding]) is (severity is Severity.ERROR)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"exists": False, "problem": "No such file", "same": None}, "/shared is not there; mount"),
        (
            {"exists": False, "problem": "No such file", "same": False},
            "/shared is not there; mount",
        ),
        ({"same": False}, "/shared is not shared: what the head's node writes in it"),
        (
            {"problem": "Read-only file system"},
            "/shared cannot be used: Read-only file system; let",
        ),
    ],
)
def test_a_folder_that_cannot_be_used(values, told):
    finding = only_finding(
        cluster(node(folders=(folder(),)), node("10.0.0.2", folders=(folder(**values),)))
    )
    assert (finding.severity, finding.kind) == (Severity.ERROR, Kind.FOLDER)
    assert finding.line().startswith(f"10.0.0.2: {told}")


def test_what_holds_for_several_nodes_is_one_line():
    away = (folder(exists=False, same=None),)
    finding = only_finding(cluster(node(folders=away), node("10.0.0.2", folders=away)))
    assert finding.line().startswith("10.0.0.1, 10.0.0.2: /shared is not there")


def test_limits_of_containers():
    finding = only_finding(cluster(node(shared_memory_bytes=67_108_864)))
    assert (finding.severity, finding.kind) == (Severity.WARNING, Kind.LIMITS)
    assert "/dev/shm holds 67 MB, less than Ray's object store of 1,000 MB" in finding.line()
    assert "--shm-size" in finding.advice
    assert judge(cluster(node(shared_memory_bytes=None))) == []
    finding = only_finding(cluster(node(open_files=64)))
    assert finding.severity is Severity.WARNING
    assert "may open 64 files, fewer than 1,024; raise `ulimit -n`" in finding.line()


def test_no_room_ever():
    facts = cluster(node(), node("10.0.0.2"))
    finding = only_finding(facts, TopologyConfig(workers=3, cpus_per_worker=3))
    assert (finding.severity, finding.kind) == (Severity.ERROR, Kind.ROOM)
    assert finding.line() == (
        "expected room for 3 workers with 3 cores and 0 GPUs each; free are: 10.0.0.1 4 of 4 cores "
        "and 0 of 0 GPUs, 10.0.0.2 4 of 4 cores and 0 of 0 GPUs; lower trainer.topology.workers, "
        "cpus_per_worker or gpus_per_worker, or add nodes"
    )
    gpus = only_finding(facts, TopologyConfig(gpus_per_worker=1))
    assert "1 workers with 1 cores and 1 GPUs" in gpus.line()


def test_no_room_now():
    facts = cluster(node(free=Resources(cpus=1)))
    assert judge(facts, TopologyConfig(workers=1)) == []
    finding = only_finding(facts, TopologyConfig(workers=2))
    assert finding.advice.startswith("wait for the other jobs there")


def test_errors_come_first():
    findings = judge(cluster(node(open_files=64, ray="2.59.0")))
    assert [finding.severity for finding in findings] == [Severity.ERROR, Severity.WARNING]


def test_room_is_asked_for_by_options_or_by_settings():
    assert wanted_workers(None, None, None, None) is None
    expected = TopologyConfig(workers=2, cpus_per_worker=1.5, gpus_per_worker=0)
    assert wanted_workers(None, 2, 1.5, 0) == expected
    assert wanted_workers("demo", None, None, None) is not None
    with pytest.raises(CommandError, match="received both"):
        wanted_workers("demo", 1, None, None)
    with pytest.raises(CommandError, match="expected --workers beside"):
        wanted_workers(None, None, 1, None)
    with pytest.raises(CommandError, match="whole number of GPUs"):
        wanted_workers(None, 1, None, 1.5)
    with pytest.raises(SettingsError):
        wanted_workers("/not/there.yaml", None, None, None)
