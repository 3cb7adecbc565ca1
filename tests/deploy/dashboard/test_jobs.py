"""Jobs of a run on the pages: how they are, from the files that they leave, whatever these are."""

from datetime import UTC, datetime, timedelta

import pytest

from manylabel.eval.schedule.records import FireAction, FireJob, FireRecord
from manylabel.eval.schedule.store import FireStore
from manylabel.storage.jobs import (
    Attempt,
    JobStage,
    JobState,
    JobStatus,
    ProcessPlace,
    attempt_path,
    status_path,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ADDRESS = "http://head:8265"


@pytest.fixture
def say(filled):
    """say(stage, …): what a job of run-b says of itself, at work since two hours."""

    def say(stage=JobStage.TRAIN, **changes):
        values = {
            "stage": stage,
            "state": JobState.RUNNING,
            "started": NOW - 2 * HOUR,
            "updated": NOW - timedelta(seconds=5),
            "host": "node-7",
            "process": 4242,
        }
        path = status_path(filled.root / "run-b", stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        JobStatus.model_validate(values | changes).write(path)

    return say


@pytest.fixture
def start(filled):
    """start(number, …): an attempt at a job of run-b, begun three hours ago."""

    def start(number, stage=JobStage.TRAIN, **changes):
        values = {
            "number": number,
            "stage": stage,
            "submission": f"manylabel-{number}",
            "address": ADDRESS,
            "command": ("train",),
            "code_version": "1",
            "host": "node-1",
            "started": NOW - 3 * HOUR,
        }
        path = attempt_path(filled.root / "run-b", stage, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        Attempt.model_validate(values | changes).write(path)

    return start


def jobs(client):
    return client().get("/runs/run-b.json").json()["jobs"]


def listed(client):
    runs = client().get("/runs.json").json()["runs"]
    return next(run["job"] for run in runs if run["name"] == "run-b")


def test_a_job_at_work_is_told_with_all_that_it_says(client, say, start):
    start(
        1, ended=NOW - 2.5 * HOUR, state=JobState.FAILED, reason="a node was lost", gpu_seconds=3600
    )
    start(2, started=NOW - 2.1 * HOUR)
    say(
        doing="training",
        done=640,
        total=1280,
        step=1200,
        epoch=0.5,
        images_per_second=1834.2,
        gpus=2,
        gpu_seconds=7200,
        processes=(
            ProcessPlace(name="worker-0", node="10.0.0.1", gpus=1, images=320),
            ProcessPlace(name="worker-1", node="10.0.0.2", gpus=1, images=320, ended=True),
        ),
    )
    text = " ".join(client().get("/runs/run-b").text.split())
    for part in (
        '<b>train</b> <span class="state live">running</span>, attempt 2',
        "training, step 1,200, epoch 0.50, 640 of 1,280 images, 1,834 images/s",
        "heard of just now, from process 4242 on node-7; 3.00 GPU-hours; manylabel-2 on",
        "<summary>2 processes</summary>",
        '<th scope="row">worker-1 <span class="quiet">ended</span></th><td>10.0.0.2</td>',
        "failed: a node was lost",
    ):
        assert part in text, part
    (job,) = jobs(client)
    assert (job["state"], job["attempt"], job["gpu_hours"]) == ("running", 2, 3.0)
    assert [each["number"] for each in job["attempts"]] == [2, 1]
    assert 'train: running</span> <span class="quiet">50.0%</span>' in client().get("/").text


def test_a_job_that_is_not_heard_of_says_for_how_long(client, say):
    say(updated=NOW - timedelta(minutes=12))
    (job,) = jobs(client)
    assert (job["word"], job["quiet_seconds"]) == ("no update for 12 min", 720)
    assert '<span class="state broken">no update for 12 min' in client().get("/runs/run-b").text
    assert "train: no update for 12 min" in client().get("/").text


@pytest.mark.parametrize(
    ("state", "reason"),
    [(JobState.FAILED, "the loss is not finite"), (JobState.STOPPED, "told to")],
)
def test_what_ended_says_why(client, say, state, reason):
    say(state=state, reason=reason, updated=NOW - HOUR)
    (job,) = jobs(client)
    assert (job["word"], job["reason"], job["quiet_seconds"]) == (state, reason, None)
    assert f"</span>: {reason}<br>" in client().get("/runs/run-b").text
    assert listed(client)["word"] == state


def test_the_end_of_an_attempt_is_not_what_its_command_last_said(client, say, start):
    """Who was killed says "running" for ever; who supervised it knows better."""
    start(1, ended=NOW - HOUR, state=JobState.FAILED, reason="ended by SIGKILL", gpu_seconds=1800)
    say(updated=NOW - HOUR, gpu_seconds=1800)
    (job,) = jobs(client)
    assert (job["word"], job["reason"], job["gpu_hours"]) == ("failed", "ended by SIGKILL", 0.5)


def test_an_attempt_that_has_not_spoken_is_starting_and_then_silent(client, say, start):
    say(state=JobState.STOPPED, reason="of before", gpu_seconds=3600)
    start(2, started=NOW - timedelta(seconds=30))
    assert [(job["word"], job["gpu_hours"]) for job in jobs(client)] == [("starting", 0.0)]
    start(2, started=NOW - timedelta(minutes=30))
    say(started=NOW - 9 * HOUR)
    assert [job["word"] for job in jobs(client)] == ["no update for 30 min"]


def test_a_command_after_all_attempts_speaks_for_itself(client, say, start):
    start(1, ended=NOW - 2.5 * HOUR, state=JobState.FAILED, reason="lost", gpu_seconds=3600)
    say(gpu_seconds=1800)
    assert [(job["word"], job["attempt"], job["gpu_hours"]) for job in jobs(client)] == [
        ("running", None, 1.5)
    ]


def test_the_job_heard_of_last_is_first_and_alone_in_the_list(client, say):
    say(state=JobState.FAILED, reason="x", updated=NOW - 5 * HOUR)
    say(JobStage.EVALUATE)
    assert [job["stage"] for job in jobs(client)] == ["evaluate", "train"]
    assert listed(client)["stage"] == "evaluate"
    say(JobStage.EVALUATE, state=JobState.DONE)
    assert listed(client) is None, "what ended well is told on the run's page alone"


def test_a_thousand_processes_and_attempts_make_no_heavy_page(client, say, start):
    for number in range(1, 30):
        start(number, ended=NOW - HOUR, state=JobState.FAILED, reason="lost")
    before = len(client().get("/runs/run-b").content)
    start(30, started=NOW - 2.1 * HOUR)
    say(
        processes=tuple(
            ProcessPlace(name=f"worker-{number}", node="10.0.0.1") for number in range(1000)
        )
    )
    page = client().get("/runs/run-b")
    assert "and 960 more" in page.text
    assert page.text.count("failed: lost") == 2, "the two attempts before"
    assert len(page.content) - before < 16_000
    (job,) = jobs(client)
    assert len(job["status"]["processes"]) == 1000


def test_names_from_a_job_are_text(client, say):
    say(doing="<script>", host="<b>", processes=(ProcessPlace(name="<i>", node="<i>"),))
    text = client().get("/runs/run-b").text
    assert "<script>" not in text.replace("<script src", "")
    assert "&lt;script&gt;" in text
    assert "<i>" not in text


def test_a_schedule_leads_to_the_job_of_its_fire(client, filled):
    (filled.root / "schedules.yaml").write_text(
        f"address: {ADDRESS}\nschedules: {{each: {{when: new_checkpoint}}}}\n"
    )
    record = FireRecord(
        schedule="each",
        key="k",
        action=FireAction.STARTED,
        reason="new",
        due=NOW,
        first_started=NOW,
        started=NOW,
        host="elsewhere",
        pid=12,
        heartbeat=NOW,
        jobs=(FireJob(run="run-b", submission="manylabel-7", address=ADDRESS),),
    )
    assert FireStore(filled.root).claim(record)
    (schedule,) = client().get("/runs.json").json()["schedules"]
    assert schedule["jobs"] == [{"run": "run-b", "submission": "manylabel-7", "address": ADDRESS}]
    text = client().get("/").text
    assert '<a href="/runs/run-b">job of run-b</a>' in text
    assert f"manylabel-7 on {ADDRESS}" in text


def cut(path):
    path.write_bytes(path.read_bytes()[:40])


def another_version(path):
    path.write_text('{"format_version": 99}')


def directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, another_version, directory])
@pytest.mark.parametrize("place", ["status.json", "0001.json"])
def test_damage_is_named_and_the_rest_shown(client, filled, say, start, place, damage):
    start(1)
    say(doing="training")
    path = filled.root / "run-b" / "jobs" / "train" / place
    damage(path)
    for address in ("/", "/runs/run-b"):
        answer = client().get(address)
        assert answer.status_code == 200
        assert str(path) in answer.text.replace("<wbr>", "")
    assert "Evaluations" in answer.text
    assert [job["stage"] for job in jobs(client)] == ["train"]


def test_a_file_in_place_of_the_folder_is_no_job(client, filled):
    (filled.root / "run-b" / "jobs").write_text("")
    assert client().get("/").status_code == 200
    data = client().get("/runs/run-b.json").json()
    assert (data["jobs"], data["problems"]) == ([], [])
