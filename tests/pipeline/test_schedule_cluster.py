"""Schedules that have a cluster evaluate: what is submitted, waited for and recorded."""

import datetime
from dataclasses import replace
from types import SimpleNamespace

import pytest

from manylabel.cluster import jobs_api
from manylabel.cluster.errors import UnreachableClusterError
from manylabel.cluster.jobs_api import RayJob, RayJobState
from manylabel.eval.schedule.cluster import EvaluationCluster
from manylabel.eval.schedule.records import FireJob, FireRecord, Outcome
from manylabel.pipeline import schedule_cluster
from manylabel.pipeline.errors import CommandError, EvaluationBusyError, Interrupted
from manylabel.pipeline.schedule_cluster import evaluate_on_cluster
from manylabel.pipeline.submission import following, submit
from manylabel.pipeline.submission.request import JobRequest
from manylabel.storage.jobs import Attempt, JobStage, JobState, attempt_path
from manylabel.trainer.runs.checkpoint import CheckpointInfo

ADDRESS = "http://head:8265"
CLUSTER = EvaluationCluster(ADDRESS, trust_open="head")
EVERY = (
    f"{{address: '{ADDRESS}', trust_open: head, schedules: {{every: {{when: new_checkpoint}}}}}}"
)
MINUTE = datetime.timedelta(minutes=1)


@pytest.fixture
def scheduled(world):
    """A world whose schedule evaluates on a cluster; `during` happens while a job is waited for."""
    world.during = lambda: None

    def evaluate_on(cluster, run, step, overrides, on_job, show):
        assert cluster == CLUSTER
        on_job(FireJob(run=run.name, submission=f"{run.name}-{step}", address=cluster.address))
        show("step 1 of 2")
        world.during()
        return world.evaluate(run, step, overrides)

    surroundings = world.surroundings
    world.surroundings = lambda: replace(surroundings(), evaluate_on=evaluate_on)
    world.settings(EVERY)
    world.checkpoint("a", 100)
    return world


JOB = FireJob(run="a", submission="a-100", address=ADDRESS)


def test_a_fire_names_its_job_while_it_waits_for_it_and_after(scheduled):
    waiting = []
    scheduled.during = lambda: waiting.extend(scheduled.records("every"))
    (record,) = scheduled.look().settled
    assert [(each.jobs, each.outcome) for each in waiting] == [((JOB,), None)]
    assert (record.jobs, record.outcome) == ((JOB,), Outcome.DONE)
    assert scheduled.records("every") == [record]
    assert [(each.run, each.step, each.new) for each in record.evaluations] == [("a", 100, True)]
    assert "step 1 of 2" in (scheduled.root / record.log).read_text()


def test_a_heartbeat_keeps_the_job(scheduled, monkeypatch):
    monkeypatch.setattr(
        "manylabel.pipeline.schedule_fire.HEARTBEAT", datetime.timedelta(milliseconds=1)
    )
    beaten: list[FireRecord] = []

    def during():
        scheduled.now += MINUTE
        while not beaten:
            beaten.extend(
                each for each in scheduled.records("every") if each.heartbeat == scheduled.now
            )

    scheduled.during = during
    scheduled.look()
    assert beaten[0].jobs == (JOB,)


def stop():
    raise KeyboardInterrupt


def test_who_is_stopped_leaves_the_job_and_the_next_call_knows_it(scheduled):
    scheduled.during = stop
    with pytest.raises(Interrupted):
        scheduled.look()
    scheduled.during = lambda: None
    (record,) = scheduled.look().settled
    assert (record.attempt, record.failures, record.outcome) == (2, 0, Outcome.DONE)
    assert record.jobs == (JOB,), "once, though two attempts waited for it"


def test_a_cluster_that_is_away_is_a_failure_and_tried_again_later(scheduled):
    def away():
        raise UnreachableClusterError(f"{ADDRESS}: nothing answers")

    scheduled.during = away
    (record,) = scheduled.look().settled
    assert (record.outcome, record.error) == (Outcome.FAILED, f"{ADDRESS}: nothing answers")
    assert record.retry_at == scheduled.now + 5 * MINUTE
    scheduled.during, scheduled.now = lambda: None, record.retry_at
    (record,) = scheduled.look().settled
    assert record.outcome is Outcome.DONE


class Head:
    """A cluster's Jobs API, and what became of the job that it was given."""

    def __init__(self, monkeypatch):
        self.there = []
        self.given = []
        self.code = 0
        self.on_follow = lambda: None
        monkeypatch.setattr(jobs_api, "JobsApi", lambda address: self)
        monkeypatch.setattr(submit, "Submitter", self.submitter)
        monkeypatch.setattr(following, "follow", self.follow)

    def jobs(self):
        return self.there

    def submitter(self, request, folders, *, trusted, on_finding):
        assert (folders.shared, trusted) == ((request.place,), "head")
        found = bool(self.there)
        if not found:
            self.given.append(request)
        name = self.there[0].submission_id if found else f"{request.prefix}1"
        return SimpleNamespace(
            check_door=lambda: None, submit=lambda: submit.Submitted(request, name, found=found)
        )

    def follow(self, api, place, stage, submission, show):
        assert (api, stage) == (self, JobStage.EVALUATE)
        self.on_follow()
        return self.code


@pytest.fixture
def head(monkeypatch):
    return Head(monkeypatch)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with the checkpoints `steps`, of which those in `made` have an evaluation."""
    run = SimpleNamespace(path=tmp_path / "runs" / "a", steps=[100, 200], made=[])
    run.path.mkdir(parents=True)

    def checkpoints(path):
        return [CheckpointInfo(step, 0, path, f"d{step}", "") for step in run.steps]

    evaluated = SimpleNamespace(find=lambda info: info.step if info.step in run.made else None)
    monkeypatch.setattr(schedule_cluster, "list_checkpoints", checkpoints)
    monkeypatch.setattr(schedule_cluster, "evaluations_of", lambda *names: (evaluated, None))
    run.evaluate = lambda step, *overrides: evaluate_on_cluster(
        CLUSTER, run.path, step, overrides, run.jobs.append, lambda line: None
    )
    run.jobs = []
    return run


def test_what_has_been_evaluated_needs_no_job(head, run):
    run.made = [100]
    assert run.evaluate("100") == [100]
    assert (head.given, run.jobs) == ([], [])


def test_the_command_that_a_user_would_submit_is_submitted(head, run):
    head.on_follow = lambda: run.made.append(200)
    assert run.evaluate("200", "eval.k=3") == [200]
    (request,) = head.given
    place = str(run.path)
    assert request.arguments == ("evaluate", place, "--step", "200", "--set", "eval.k=3")
    assert (request.place, request.address) == (place, ADDRESS)
    assert [(job.run, job.submission) for job in run.jobs] == [("a", f"{request.prefix}1")]


def at_work(run, step):
    """The job of another process, which evaluates a step."""
    place = str(run.path)
    request = JobRequest(
        stage=JobStage.EVALUATE,
        place=place,
        arguments=("evaluate", place, "--step", step),
        address=ADDRESS,
        code_version="1",
    )
    name = f"{request.prefix}7"
    return RayJob(submission_id=name, status=RayJobState.RUNNING, metadata=request.to_metadata())


def test_the_same_evaluation_at_work_is_waited_for(head, run):
    head.there = [at_work(run, "100")]
    head.on_follow = lambda: run.made.append(100)
    assert run.evaluate("100") == [100]
    assert head.given == []
    assert [job.submission for job in run.jobs] == [head.there[0].submission_id]


def test_another_evaluation_of_the_run_at_work_is_no_failure(head, run):
    head.there = [at_work(run, "100")]
    with pytest.raises(EvaluationBusyError, match="another evaluation of it is at work, manylabel"):
        run.evaluate("200")
    assert run.jobs == []


def test_a_job_that_fails_is_told_in_its_own_words(head, run):
    def fail():
        Attempt(
            number=1,
            stage=JobStage.EVALUATE,
            submission=run.jobs[0].submission,
            address=ADDRESS,
            command=("evaluate",),
            code_version="1",
            host="head",
            started=datetime.datetime.now(datetime.UTC),
            state=JobState.FAILED,
            reason="a node was lost; given up after 3 retries",
        ).write(attempt_path(run.path, JobStage.EVALUATE, 1))

    head.on_follow, head.code = fail, 75
    with pytest.raises(CommandError, match="a node was lost; given up after 3 retries; manylabel"):
        run.evaluate("100")


def test_who_is_stopped_while_he_waits_is_no_failure_of_the_evaluation(head, run):
    """The last word of `follow` is for who typed `submit --follow`, and is an Exception."""

    def stop():
        raise Interrupted("it is at work all the same")

    head.on_follow = stop
    with pytest.raises(KeyboardInterrupt):
        run.evaluate("100")
    assert len(run.jobs) == 1


def test_a_job_that_left_nothing_here_is_a_failure(head, run):
    with pytest.raises(CommandError, match="no evaluation of step 100, 200; do its nodes have"):
        run.evaluate("all")


def test_what_retention_took_meanwhile_is_not_asked_for(head, run):
    def keep_one():
        run.made, run.steps = [200], [200, 300]

    head.on_follow = keep_one
    assert run.evaluate("all") == [200]
