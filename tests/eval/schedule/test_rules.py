"""Decisions, one rule at a time: settings, a moment and records in; what to do and why out."""

from datetime import UTC, datetime, timedelta

import pytest

from manylabel.eval.schedule.config import Schedules
from manylabel.eval.schedule.decision import Act
from manylabel.eval.schedule.progress import CheckpointFact, RunFacts, progress_of
from manylabel.eval.schedule.records import FireAction, FireRecord, Outcome
from manylabel.eval.schedule.rules import ScheduleFacts, decide

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SEEN = datetime(2026, 5, 3, 12, tzinfo=UTC)
TWO = datetime(2026, 5, 4, 2, tzinfo=UTC)  # The first time of the line "0 2 * * *" after that.


def schedules(**changes):
    return Schedules.model_validate({"schedules": {"s": {"when": "0 2 * * *"} | changes}})


def decided(settings, now, fires=(), runs=(), host="here"):
    return decide(settings, now, host, {"s": ScheduleFacts(SEEN, fires, runs)})


def the(decisions):
    (decision,) = decisions
    return decision


def claimed(settings, now, fires=(), runs=(), host="here"):
    """The record of the only decision."""
    return the(decided(settings, now, fires, runs)).record(now, host, 1)


def ended(record, at, outcome=Outcome.DONE, **changes):
    return record.model_copy(update={"ended": at, "outcome": outcome, **changes})


def test_nothing_is_due_before_the_first_time():
    decision = the(decided(schedules(timezone="Europe/Paris"), SEEN + HOUR))
    assert decision.act is Act.WAIT
    assert decision.next_due == TWO - 2 * HOUR
    assert decision.reason == "due not before 2026-05-04 02:00 CEST"


def test_times_before_a_schedule_was_first_seen_are_not_due():
    facts = {"s": ScheduleFacts(TWO)}
    assert the(decide(schedules(), TWO + HOUR, "here", facts)).act is Act.WAIT


def test_a_due_time_is_started_whenever_somebody_asks_before_its_deadline():
    for late in (timedelta(0), timedelta(seconds=2), 6 * HOUR - MINUTE):
        decision = the(decided(schedules(), TWO + late))
        assert (decision.act, decision.key, decision.due) == (Act.START, "20260504T020000Z", TWO)
        assert decision.reason == "due at 2026-05-04 02:00 UTC"


def test_after_its_deadline_it_is_missed_and_the_record_says_so():
    record = claimed(schedules(deadline="90m"), TWO + 91 * MINUTE)
    assert (record.action, record.is_settled) == (FireAction.MISSED, True)
    assert record.reason == "2026-05-04 02:00 UTC: more than 1h30m ago (deadline)"
    after = the(decided(schedules(), TWO + 92 * MINUTE, [record]))
    assert (after.act, after.next_due) == (Act.WAIT, TWO + DAY)


def test_latest_stands_for_all_times_of_a_pause():
    settings = schedules(deadline="100d")
    record = claimed(settings, TWO + 30 * DAY)
    assert (record.due, record.coalesced) == (TWO + 30 * DAY, 30)
    assert record.key == "20260504T020000Z", "of the first time that it covers"
    assert record.reason.endswith("02:00 UTC; so for 30 earlier times")
    done = ended(record, TWO + 30 * DAY + HOUR)
    assert the(decided(settings, TWO + 30 * DAY + HOUR, [done])).next_due == TWO + 31 * DAY


def test_a_pause_of_many_minutes_is_no_reason_to_stop_for_good():
    """Kubernetes gives up on a CronJob after 100 missed times (kubernetes#42649)."""
    settings = schedules(when="* * * * *")
    now = SEEN + 7 * DAY
    missed = claimed(settings, now)
    assert (missed.action, missed.coalesced) == (FireAction.MISSED, 7 * 24 * 60 - 6 * 60 - 1)
    started = claimed(settings, now, [missed])
    assert (started.action, started.due, started.coalesced) == (FireAction.STARTED, now, 359)


def test_a_line_that_was_first_seen_when_the_clock_stood_at_its_beginning_costs_seconds():
    settings = schedules(when="*/10 * * * *")
    facts = {"s": ScheduleFacts(datetime(1970, 1, 1, tzinfo=UTC))}
    missed = the(decide(settings, TWO, "here", facts)).record(TWO, "here", 1)
    assert (missed.key, missed.due) == ("19700101T001000Z", TWO - 6 * HOUR)
    assert missed.coalesced == 366 * 24 * 6, "of the year before, and the first"


def test_all_makes_up_for_each_time_oldest_first_and_no_more_than_the_deadline_allows():
    settings = schedules(when="0 * * * *", catch_up="all", deadline="3h")
    fires: list[FireRecord] = []
    now = SEEN + 7 * HOUR + MINUTE
    while (decision := the(decided(settings, now, fires))).act is not Act.WAIT:
        record = decision.record(now, "here", 1)
        fires.append(ended(record, now) if record.action is FireAction.STARTED else record)
        now += MINUTE
    acts = [(fire.action, (fire.due - SEEN) // HOUR, fire.coalesced) for fire in fires]
    assert acts == [
        (FireAction.MISSED, 4, 3),
        *((FireAction.STARTED, hour, 0) for hour in (5, 6, 7)),
    ]


def test_none_makes_up_for_nothing_but_is_not_strict_to_the_second():
    settings = schedules(catch_up="none")
    assert the(decided(settings, TWO + 9 * MINUTE)).act is Act.START
    record = claimed(settings, TWO + 11 * MINUTE)
    assert record.action is FireAction.MISSED
    assert "more than 10m ago (catch_up)" in record.reason


def test_none_with_a_queue_waits_for_the_fire_before():
    settings = schedules(when="0 * * * *", catch_up="none", overlap="queue")
    first = ended(claimed(settings, SEEN + HOUR), SEEN + 2.5 * HOUR)
    assert the(decided(settings, SEEN + 2.5 * HOUR + MINUTE, [first])).act is Act.START


def running(settings, now=SEEN + HOUR, host="there"):
    return claimed(settings, now, host=host)


def test_while_a_fire_is_at_work_nothing_is_started():
    settings = schedules(when="0 * * * *")
    fire = running(settings).model_copy(update={"heartbeat": SEEN + 2 * HOUR})
    decision = the(decided(settings, SEEN + 2 * HOUR + MINUTE, [fire]))
    assert decision.act is Act.WAIT
    assert "at work since 2026-05-03 13:00 UTC on there, process 1" in decision.reason


@pytest.mark.parametrize(("overlap", "act"), [("skip", Act.SKIP), ("queue", Act.START)])
def test_times_that_came_while_a_fire_was_at_work(overlap, act):
    settings = schedules(when="0 * * * *", overlap=overlap)
    fire = ended(running(settings), SEEN + 3 * HOUR + MINUTE)
    decision = the(decided(settings, SEEN + 3 * HOUR + 2 * MINUTE, [fire]))
    assert (decision.act, decision.due, decision.coalesced) == (act, SEEN + 3 * HOUR, 1)


def test_a_time_after_an_overlap_is_not_skipped_with_it():
    """Whoever asks next may be late: what was overlapped is told by the records."""
    settings = schedules(when="0 * * * *")
    fire = ended(running(settings), SEEN + 2.5 * HOUR)
    now = SEEN + 4 * HOUR
    skipped = claimed(settings, now, [fire])
    assert (skipped.action, skipped.due) == (FireAction.SKIPPED_OVERLAP, SEEN + 2 * HOUR)
    assert "the fire before was at work (overlap)" in skipped.reason
    started = the(decided(settings, now, [fire, skipped]))
    assert (started.act, started.due, started.coalesced) == (Act.START, now, 1)


def test_a_dead_process_on_this_host_is_replaced_at_once():
    fire = running(schedules(), TWO, host="here")
    decision = the(decided(schedules(), TWO + MINUTE, [fire]))
    assert decision.act is Act.TRY_AGAIN
    assert decision.reason == "process 1 on here died; attempt 2"
    again = decision.record(TWO + MINUTE, "here", 2)
    assert (again.attempt, again.failures, again.key, again.due) == (2, 1, fire.key, TWO)
    assert (again.first_started, again.started) == (TWO, TWO + MINUTE)


def test_a_dead_process_on_another_host_is_replaced_when_its_heart_has_stopped():
    fire = running(schedules(), TWO)
    assert the(decided(schedules(), TWO + 4 * MINUTE, [fire])).act is Act.WAIT
    assert the(decided(schedules(), TWO + 5 * MINUTE, [fire])).act is Act.TRY_AGAIN


def test_failures_are_tried_again_when_it_is_time_and_given_up_in_the_end():
    settings, now = schedules(retries=2), TWO
    fire = claimed(settings, now)
    for failures in (1, 2):
        now += MINUTE
        fire = ended(fire, now, Outcome.FAILED, error="no room", retry_at=now + 5 * MINUTE)
        waiting = the(decided(settings, now + 4 * MINUTE, [fire]))
        assert waiting.act is Act.WAIT
        assert waiting.reason.startswith("failed: no room; again at 2026-05-04 02:")
        now += 5 * MINUTE
        fire = claimed(settings, now, [fire])
        assert (fire.attempt, fire.failures) == (failures + 1, failures)
        assert (fire.ended, fire.outcome, fire.error, fire.retry_at) == (None,) * 4
    given_up = the(decided(settings, now + MINUTE, [ended(fire, now, Outcome.FAILED, error="x")]))
    assert (given_up.act, given_up.reason) == (
        Act.GIVE_UP,
        "failed: x; 3 failures, retries: 2",
    )


def test_being_stopped_is_no_failure():
    settings = schedules(retries=0)
    fire = ended(claimed(settings, TWO), TWO, Outcome.INTERRUPTED, error="stopped")
    again = claimed(settings, TWO + MINUTE, [fire])
    assert (again.attempt, again.failures) == (2, 0)


def test_a_time_that_was_begun_is_not_tried_for_longer_than_its_deadline():
    fire = running(schedules(), TWO, host="here")
    decision = the(decided(schedules(), TWO + 6 * HOUR + MINUTE, [fire]))
    assert decision.act is Act.GIVE_UP
    assert "more than 6h ago (deadline)" in decision.reason


def test_a_settled_fire_is_settled_whatever_the_settings_say_later():
    fire = ended(claimed(schedules(retries=0), TWO), TWO + MINUTE, Outcome.GIVEN_UP)
    assert the(decided(schedules(retries=9), TWO + HOUR, [fire])).next_due == TWO + DAY


def test_a_clock_that_was_wrong_is_named():
    fire = ended(claimed(schedules(), TWO + 365 * DAY), TWO + 365 * DAY)
    decision = the(decided(schedules(), TWO, [fire]))
    assert decision.act is Act.WAIT
    assert "the clock is or was wrong" in decision.reason
    assert fire.key in decision.reason


def test_two_that_ask_a_moment_apart_claim_the_same_record():
    """One sees one due time, the other two: still only one of them may go on."""
    settings = schedules(when="* * * * *")
    before, after = SEEN + MINUTE, SEEN + 2 * MINUTE
    assert claimed(settings, before).key == claimed(settings, after).key


# New checkpoints.

EVERY = {"when": "new_checkpoint"}


def run(*steps, evaluated=(), name="r", digest="d"):
    facts = (CheckpointFact(step, f"{digest}{step}", step in evaluated) for step in steps)
    return RunFacts(name, tuple(facts))


def steps_of(decisions, act=Act.START):
    return [decision.step for decision in decisions if decision.act is act]


def test_each_new_checkpoint_is_due_once_oldest_first():
    settings = schedules(**EVERY)
    runs = [run(0, 100, 250), run(0, 70, name="q")]
    starts = decided(settings, TWO, runs=runs)
    assert [(each.step, each.run) for each in starts] == [
        (0, "r"),
        (0, "q"),
        (70, "q"),
        (100, "r"),
        (250, "r"),
    ]
    assert starts[0].reason == "step 0 of r is new"
    fires = [ended(start.record(TWO, "here", 1), TWO) for start in starts]
    assert len({fire.key for fire in fires}) == 5
    waiting = the(decided(settings, TWO, fires, runs))
    assert (waiting.act, waiting.reason) == (
        Act.WAIT,
        "no new checkpoint (r from step 251 on, q from step 71 on)",
    )


def test_what_is_evaluated_is_not_new():
    runs = [run(0, 100, 250, evaluated=(0, 250))]
    assert steps_of(decided(schedules(**EVERY), TWO, runs=runs)) == [100]


@pytest.mark.parametrize(
    ("evaluated", "due"),
    [((), [0, 2000, 4000]), ((0,), [2000, 4000]), ((500,), [0, 2500, 4500]), ((4000,), [0, 2000])],
)
def test_at_least_every_counts_from_what_was_evaluated_before(evaluated, due):
    runs = [run(0, 500, 1000, 1999, 2000, 2500, 4000, 4500, evaluated=evaluated)]
    settings = schedules(**EVERY, at_least_every=2000)
    assert steps_of(decided(settings, TWO, runs=runs)) == due


def test_at_least_every_counts_from_what_retention_has_removed():
    settings = schedules(**EVERY, at_least_every=1000)
    fires = [ended(the(decided(settings, TWO, runs=[run(800)])).record(TWO, "here", 1), TWO)]
    assert steps_of(decided(settings, TWO, fires, [run(1000, 1700, 1800)])) == [1800]


def test_latest_evaluates_the_newest_of_several():
    settings = schedules(**EVERY, catch_up="latest")
    decision = the(decided(settings, TWO, runs=[run(0, 100, 250)]))
    assert (decision.step, decision.coalesced) == (250, 2)
    assert decision.reason == "step 250 of r is new; so for 2 older ones"
    fires = [ended(decision.record(TWO, "here", 1), TWO)]
    assert the(decided(settings, TWO, fires, [run(0, 100, 250)])).act is Act.WAIT
    assert steps_of(decided(settings, TWO, fires, [run(0, 100, 250, 300)])) == [300]


def test_a_step_that_was_made_again_is_another_checkpoint():
    settings = schedules(**EVERY, at_least_every=100)
    fires = [
        ended(each.record(TWO, "here", 1), TWO)
        for each in decided(settings, TWO, runs=[run(100, 200, 300)])
    ]
    remade = RunFacts("r", (*run(100).checkpoints, *run(200, digest="other").checkpoints))
    assert steps_of(decided(settings, TWO, fires, [remade])) == [200]


def test_a_failed_checkpoint_is_tried_again_beside_new_ones():
    settings = schedules(**EVERY)
    fire = decided(settings, TWO, runs=[run(0)])[0].record(TWO, "here", 1)
    failed = ended(fire, TWO, Outcome.FAILED, error="x", retry_at=TWO + 5 * MINUTE)
    decisions = decided(settings, TWO + MINUTE, [failed], [run(0, 100)])
    assert [each.act for each in decisions] == [Act.START, Act.WAIT]
    decisions = decided(settings, TWO + 5 * MINUTE, [failed], [run(0, 100)])
    assert [(each.act, each.step) for each in decisions] == [(Act.TRY_AGAIN, 0), (Act.START, 100)]


def test_a_checkpoint_that_is_gone_is_given_up():
    settings = schedules(**EVERY)
    fire = decided(settings, TWO, runs=[run(0)])[0].record(TWO, "here", 1)
    decision = the(decided(settings, TWO + MINUTE, [fire], [run()]))
    assert decision.act is Act.GIVE_UP
    assert decision.reason.endswith("its checkpoint is gone or damaged")


def test_what_gets_late_comes_before_what_does_not():
    settings = Schedules.model_validate(
        {
            "schedules": {
                "every": EVERY,
                "nightly": {"when": "0 2 * * *"},
                "missed": {"when": "0 2 * * *", "deadline": "1m"},
            }
        }
    )
    facts = {"every": ScheduleFacts(SEEN, (), [run(0)])}
    facts |= dict.fromkeys(("nightly", "missed"), ScheduleFacts(SEEN))
    decisions = decide(settings, TWO + HOUR, "here", facts)
    assert [each.schedule for each in decisions] == ["missed", "nightly", "every"]


def held(settings, run, fires=()):
    config = settings.schedules["s"]
    return progress_of(run, config, fires).held_after(config)


def test_what_waits_is_held():
    every, sparse = schedules(**EVERY), schedules(**EVERY, at_least_every=2000)
    assert held(every, run()) == -1, "the checkpoint of step 0 is one as well"
    assert held(every, run(0, 100)) == -1
    assert held(every, run(0, 100, evaluated=(0,))) == 99
    assert held(every, run(0, 100, evaluated=(0, 100))) == 100
    assert held(sparse, run(0, 100, evaluated=(0,))) == 1999, "those between are not needed"
    assert held(sparse, run(0, 1500, 2100, evaluated=(0,))) == 2099
    latest = schedules(**EVERY, catch_up="latest")
    assert held(latest, run(0, 100, 200, evaluated=(0,))) == 199


def test_what_failed_is_held_until_it_is_settled():
    settings = schedules(**EVERY)
    fire = decided(settings, TWO, runs=[run(100)])[0].record(TWO, "here", 1)
    assert held(settings, run(100, 200, evaluated=(200,)), [fire]) == 99
    assert held(settings, run(100, 200, evaluated=(200,)), [ended(fire, TWO)]) == 200
    assert held(settings, run(200, evaluated=(200,)), [fire]) == 200, "gone: nothing to hold"
