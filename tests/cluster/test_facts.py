"""The answer of the probe, as text of a job."""

import json

import pytest

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.facts import Resources, Seen, parse_answer
from manylabel.cluster.probe import MARKER

SEEN = {
    "python": "3.11.7",
    "ray": "2.60.0",
    "package": {"version": "0.1.0", "location": "/here"},
    "agent": 401,
    "agent_port": 52365,
    "shared_memory_bytes": 64_000_000,
    "open_files": 1024,
    "folders": [{"path": "/shared", "exists": True, "problem": None, "same": True}],
}


def node(address, **values):
    return {"address": address, "total": {"CPU": 4.0, "memory": 8e9}, "free": {}, **values}


def printed(*nodes):
    return f"chatter\n{MARKER}{json.dumps(nodes)}\nand more\n"


def test_nodes_come_in_the_order_of_their_addresses():
    nodes = parse_answer(
        printed(node("10.0.0.10", problem="silent"), node("10.0.0.9", seen=SEEN)), "http://head"
    )
    assert [each.address for each in nodes] == ["10.0.0.9", "10.0.0.10"]
    assert nodes[0].seen == Seen.model_validate(SEEN)
    assert nodes[0].total == Resources(cpus=4.0, memory_bytes=8_000_000_000)
    assert nodes[0].free == Resources(), "Ray leaves out what there is nothing of"
    assert (nodes[1].seen, nodes[1].problem) == (None, "silent")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "nothing"),
        ("/bin/sh: 1: exec: python: not found\n\n", "python: not found"),
        (f"{MARKER}[1, 2", r"\[1, 2"),
        (f"{MARKER}[1]", r"\[1\]"),
        (printed(node("10.0.0.1", colour="red")), "and more"),
    ],
)
def test_what_is_no_answer_is_told_in_a_line(text, told):
    with pytest.raises(
        ClusterError, match=rf"^http://head: expected .*{told}; .*`python`"
    ) as error:
        parse_answer(text, "http://head")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "is_open"), [(None, False), (401, False), (403, False), (405, True), (200, True)]
)
def test_an_agent_is_open_unless_it_refuses(status, is_open):
    assert Seen.model_validate({**SEEN, "agent": status}).agent_is_open is is_open
