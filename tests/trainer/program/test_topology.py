"""Who is blamed for silence, without Ray."""

import threading
from types import SimpleNamespace

import pytest
from ray.exceptions import GetTimeoutError

from manylabel.cluster import leaving
from manylabel.trainer.errors import LostPartError
from manylabel.trainer.program import topology
from manylabel.trainer.program.silences import Silences
from manylabel.trainer.program.topology import Topology


class Cluster:
    """Parts that answer, and parts that say nothing: each question costs five seconds."""

    def __init__(self, silent):
        self.silent = silent
        self.now = 0.0

    def monotonic(self):
        return self.now

    def plain_answer(self, questions, name_of, timeout):
        if self.silent & set(questions):
            self.now += timeout
            raise GetTimeoutError
        return [f"answer to {question}" for question in questions]

    def wait(self, questions, num_returns, timeout):
        ready = [question for question in questions if question not in self.silent]
        return ready, [question for question in questions if question in self.silent]


def parts(monkeypatch, silent):
    """A program without its processes; and a question to each part, by the part's name."""
    cluster = Cluster(silent)
    monkeypatch.setattr(topology, "plain_answer", cluster.plain_answer)
    monkeypatch.setattr(topology, "ray", SimpleNamespace(wait=cluster.wait))
    monkeypatch.setattr(topology, "time", cluster)
    program = Topology.__new__(Topology)
    program._head = SimpleNamespace(answers=lambda: True)  # type: ignore[assignment]
    program._silences = Silences()
    program._addresses = {"a": "10.0.0.7"}
    names = ("shard-0", "shard-1", "coordinator")
    program._parts = {name: topology._Part(name, None, "a") for name in names}
    return program, cluster


def test_parts_can_be_described_as_soon_as_silences_may_ask(monkeypatch):
    """The thread that tells of them does not wait for the program to be made."""
    context = SimpleNamespace(gcs_address="10.0.0.1:6379")
    monkeypatch.setattr(topology, "ray", SimpleNamespace(get_runtime_context=lambda: context))
    monkeypatch.setattr(topology, "living_nodes", list)

    class Described(Exception):
        pass

    class Asking(Silences):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "describe":
                raise Described(value("Ray"))

    with pytest.raises(Described, match=r"^Ray$"):
        Topology(SimpleNamespace(), None, None, Asking())  # type: ignore[arg-type]


def test_of_shards_that_start_that_is_named_which_says_nothing(monkeypatch):
    program, cluster = parts(monkeypatch, {"shard-1"})
    asked = {name: program._parts[name] for name in ("shard-0", "shard-1")}
    with pytest.raises(LostPartError, match=r"^shard-1 on 10.0.0.7 has not answered for 600 s: .*"):
        program._get(asked)
    assert cluster.now == pytest.approx(605)


def test_a_coordinator_that_says_nothing_is_named(monkeypatch):
    program, _ = parts(monkeypatch, {"coordinator"})
    with pytest.raises(LostPartError, match=r"^coordinator on 10.0.0.7 has not answered for 600 s"):
        program._get({"coordinator": program._parts["coordinator"]})


def test_time_in_which_this_process_was_stopped_is_no_silence_of_others(monkeypatch):
    program, cluster = parts(monkeypatch, {"coordinator"})
    questions = []

    def answers():
        questions.append(cluster.now)
        if len(questions) == 3:
            cluster.now += 3600  # stopped while it waited
        if len(questions) == 5:
            cluster.silent = set()
        return True

    program._head = SimpleNamespace(answers=answers)
    coordinator = {"coordinator": program._parts["coordinator"]}
    assert program._get(coordinator) == ["answer to coordinator"]


def test_answers_come_in_the_order_of_the_questions(monkeypatch):
    program, _ = parts(monkeypatch, set())
    assert program._get(program._parts) == [
        "answer to shard-0",
        "answer to shard-1",
        "answer to coordinator",
    ]


def test_a_shard_that_says_nothing_is_named_though_nobody_waits_for_it(monkeypatch):
    program, cluster = parts(monkeypatch, set())
    program._silences = Silences(cluster.monotonic)
    program._silences.ask("shard-1")
    program._pings = SimpleNamespace(look=lambda: "shard-1")
    cluster.now = 600.0
    program.ping()
    cluster.now = 600.1
    with pytest.raises(LostPartError, match=r"^shard-1 on 10.0.0.7 has not answered for 600 s: .*"):
        program.ping()


def test_a_kill_that_hangs_is_left_to_itself_and_then_told(monkeypatch):
    program, cluster = parts(monkeypatch, set())
    over, kills = threading.Event(), []

    def kill(actor):
        kills.append(actor)
        over.wait()

    monkeypatch.setattr(topology, "ray", SimpleNamespace(kill=kill))
    monkeypatch.setattr(topology, "_SECONDS_TO_KILL", 0.01)
    program._parts["worker-1"] = topology._Part("worker-1", None, "a")
    try:
        for cluster.now in (0.0, 10.0, 20.0):
            program.kill_worker("worker-1")
        cluster.now = 21.0
        with pytest.raises(LostPartError, match=r"head .* has not ended worker-1 on .* for 21 s"):
            program.kill_worker("worker-1")
        assert len(kills) == 1
    finally:
        over.set()
        leaving.abandoned.clear()


def test_a_kill_may_end_while_it_is_asked_for_how_long_it_takes(monkeypatch):
    program, cluster = parts(monkeypatch, set())
    worker = topology._Part("worker-1", None, "a", kill_began=1.0)
    program._parts["worker-1"] = worker

    def monotonic():
        worker.kill_began = None
        return 2.0

    cluster.monotonic = monotonic
    program.kill_worker("worker-1")


def test_a_worker_that_was_not_gone_is_killed_again(monkeypatch):
    program, _ = parts(monkeypatch, set())
    kills: list[None] = []
    monkeypatch.setattr(topology, "ray", SimpleNamespace(kill=kills.append))
    program._parts["worker-1"] = topology._Part("worker-1", None, "a")
    program.kill_worker("worker-1")
    program.kill_worker("worker-1")
    assert len(kills) == 2
