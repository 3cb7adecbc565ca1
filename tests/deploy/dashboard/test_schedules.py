"""Schedules on the page: what came of the last fire, as the schedule's own records tell it."""

from datetime import UTC, datetime, timedelta

import pytest

from manylabel.eval.schedule.records import FireAction, FireRecord, Outcome
from manylabel.eval.schedule.store import FireStore

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
STARTED = NOW - timedelta(hours=10)


def fire(folder, **changes):
    (folder.root / "schedules.yaml").write_text(
        'schedules: {nightly: {when: "0 2 * * *"}, each: {when: new_checkpoint}}\n'
    )
    record = FireRecord(
        schedule="nightly",
        key="20260302T020000Z",
        action=FireAction.STARTED,
        reason="due at 02:00",
        due=STARTED,
        first_started=STARTED,
        started=STARTED,
        host="elsewhere",
        pid=12,
        heartbeat=NOW - timedelta(seconds=20),
    )
    assert FireStore(folder.root).claim(record.model_copy(update=changes))


def shown(client):
    data = client().get("/runs.json").json()
    return next(each for each in data["schedules"] if each["name"] == "nightly")


def test_a_fire_whose_process_lives_is_at_work(client, filled):
    fire(filled)
    found = shown(client)
    assert found["did"].startswith("at work")
    assert (found["css"], found["why"]) == ("live", "due at 02:00")


def test_a_fire_whose_process_died_is_not(client, filled):
    fire(filled, heartbeat=NOW - timedelta(hours=9))
    found = shown(client)
    assert found["did"].startswith("died")
    assert found["css"] == "broken"
    assert "at work" not in client().get("/").text


@pytest.mark.parametrize(
    ("action", "outcome", "did", "css", "why"),
    [
        (FireAction.STARTED, Outcome.DONE, "done, nothing new to evaluate", "done", "due at 02:00"),
        (FireAction.STARTED, Outcome.FAILED, "failed", "broken", "no room"),
        (FireAction.STARTED, Outcome.INTERRUPTED, "interrupted", "", "no room"),
        (FireAction.STARTED, Outcome.GIVEN_UP, "given up", "broken", "no room"),
        (FireAction.MISSED, None, "missed", "broken", "due at 02:00"),
        (FireAction.SKIPPED_OVERLAP, None, "skipped overlap", "", "due at 02:00"),
    ],
)
def test_outcomes_are_told_with_their_reasons(client, filled, action, outcome, did, css, why):
    fire(filled, action=action, outcome=outcome, ended=NOW, error="no room")
    found = shown(client)
    assert (found["did"], found["css"], found["why"]) == (did, css, why)
    assert f"{did}</span>" in client().get("/").text


def test_a_damaged_record_is_named_and_the_rest_shown(client, filled):
    fire(filled)
    (path,) = (filled.root / "schedule" / "fires" / "nightly").iterdir()
    path.write_text("{")
    data = client().get("/runs.json").json()
    assert any(str(path) in problem["text"] for problem in data["problems"])
    assert [each["did"] for each in data["schedules"]] == ["has not fired yet", "unreadable"]
