"""How far a job is: counts, rates, and each stage's end."""

import pytest

from manylabel.preprocessing.progress import Meter, Progress, Stage, reporting
from manylabel.storage.jobs import ProcessPlace


def test_stages_that_end_between_two_looks_are_told(clock):
    meter = Meter(clock)
    assert meter.read() == []
    meter.begin(Stage.SORT_ROWS, 30)
    for second in (1, 2, 3):
        clock.now = second
        meter.advance(Stage.SORT_ROWS, 10)
    meter.advance(Stage.CHECK_IMAGES, 0, 12)
    clock.now = 5
    meter.advance(Stage.CHECK_IMAGES, 4, 12)
    assert meter.read() == [
        Progress(Stage.SORT_ROWS, 30, 30, rate=10),
        Progress(Stage.CHECK_IMAGES, 4, 12, rate=2),
    ]
    assert [progress.stage for progress in meter.read()] == [Stage.CHECK_IMAGES]


def test_a_rate_is_that_of_the_last_half_minute(clock):
    meter = Meter(clock)
    meter.begin(Stage.WRITE_SHARDS, 10_000)
    rates = []
    for second in range(1, 101):
        clock.now = second
        meter.advance(Stage.WRITE_SHARDS, 100 if second <= 50 else 10)
        rates.append(meter.read()[-1].rate)
    assert rates[49] == 100
    assert rates[64] == pytest.approx(55, abs=3)  # Half of its window is behind the change.
    assert rates[99] == 10


def test_what_was_done_before_is_no_part_of_the_rate(clock):
    meter = Meter(clock)
    meter.keep(Stage.CHECK_IMAGES, 1_000_000)
    clock.now = 2
    meter.advance(Stage.CHECK_IMAGES, 6)
    assert meter.read() == [Progress(Stage.CHECK_IMAGES, 1_000_006, rate=3)]


def test_what_is_begun_is_asked_for_every_few_seconds_while_its_stage_lasts(clock):
    meter, sizes = Meter(clock), iter([7, 8, 9])
    meter.begin(Stage.WRITE_SHARDS, 100, lambda: next(sizes))
    seen = []
    for second in (0, 1, 2, 4, 5, 8):
        clock.now = second
        seen.append(meter.read()[-1].under_way)
    assert seen == [7, 7, 7, 8, 8, 9]
    meter.begin(Stage.FIND_SHARDS)
    assert meter.read()[-1].under_way == 0


def test_what_was_begun_is_not_the_next_stages_that_begins_during_a_look(clock):
    meter = Meter(clock)

    def look():
        meter.begin(Stage.FIND_SHARDS, 4, lambda: 3)
        return 7

    meter.begin(Stage.WRITE_SHARDS, 100, look)
    assert [progress.under_way for progress in meter.read()] == [0, 0]
    assert [progress.under_way for progress in meter.read()] == [3], "asked for at once"


def test_what_cannot_be_looked_at_ends_nothing(clock):
    meter, answers = Meter(clock), iter([7, None, 8])

    def look():
        if (answer := next(answers)) is None:
            raise PermissionError
        return answer

    meter.begin(Stage.WRITE_SHARDS, 100, look)
    seen = []
    for second in (0, 4, 5, 8):
        clock.now = second
        seen.append(meter.read()[-1].under_way)
    assert seen == [7, 7, 7, 8]


def test_who_did_what_is_told_at_every_stage():
    meter = Meter()
    for node, images in (("10.0.0.2", 40), ("10.0.0.1", 30), ("10.0.0.2", 2)):
        meter.advance(Stage.WRITE_SHARDS, images)
        meter.credit("write shards", node, images, shards=1)
    meter.begin(Stage.FIND_SHARDS)
    expected = (
        ProcessPlace(name="write shards", node="10.0.0.1", images=30, shards=1),
        ProcessPlace(name="write shards", node="10.0.0.2", images=42, shards=2),
    )
    assert [progress.processes for progress in meter.read()] == [expected] * 2


def test_a_count_so_far_takes_the_place_of_the_one_before(clock):
    meter = Meter(clock)
    for rows in (250_000, 500_000, 600_000):
        meter.reach(Stage.COUNT_ROWS, rows)
    assert meter.read() == [Progress(Stage.COUNT_ROWS, 600_000)]


def test_a_listener_hears_of_every_stage_of_a_job_that_takes_no_time():
    meter = Meter()
    told: list[Progress] = []
    with reporting(meter, told.append):
        for stage in Stage:
            meter.advance(stage, 7)
    assert [(progress.stage, progress.done) for progress in told] == [(each, 7) for each in Stage]
