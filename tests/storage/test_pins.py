import pytest

from manylabel.storage.pins import (
    KeepReason,
    Pins,
    hold_after,
    holding_schedules,
    keep,
    pinned,
    read_pins,
    release,
)


def test_a_run_without_pins_keeps_nothing(tmp_path):
    assert read_pins(tmp_path) == Pins(frozenset(), None)
    assert not read_pins(tmp_path).hold(0)


def test_promoted_and_reviewed_steps_are_held_and_no_other(tmp_path):
    keep(tmp_path, 1200, KeepReason.PROMOTED)
    keep(tmp_path, 300, KeepReason.REVIEWED)
    keep(tmp_path, 300, KeepReason.REVIEWED)
    pins = read_pins(tmp_path)
    assert [step for step in (0, 300, 301, 1200, 1300) if pins.hold(step)] == [300, 1200]


def test_the_earliest_of_two_schedules_decides_and_each_lets_go_of_its_own(tmp_path):
    hold_after(tmp_path, "nightly", 100)
    hold_after(tmp_path, "every.new one", 200)
    assert read_pins(tmp_path).after == 100
    hold_after(tmp_path, "nightly", 400)
    assert read_pins(tmp_path).after == 200
    assert holding_schedules(tmp_path) == {"nightly", "every.new one"}
    release(tmp_path, "every.new one")
    assert [read_pins(tmp_path).hold(step) for step in (400, 401)] == [False, True]
    release(tmp_path, "nightly")
    assert read_pins(tmp_path).after is None


def test_every_checkpoint_may_wait(tmp_path):
    hold_after(tmp_path, "every", -1)
    assert read_pins(tmp_path).hold(0)
    assert holding_schedules(tmp_path) == {"every"}
    hold_after(tmp_path, "every", 0)
    assert not read_pins(tmp_path).hold(0)


@pytest.mark.parametrize("name", ["README", "x.promoted", "after-.nightly", ".DS_Store"])
def test_other_files_are_left_alone(tmp_path, name):
    keep(tmp_path, 1, KeepReason.PROMOTED)
    (tmp_path / "kept" / name).touch()
    assert read_pins(tmp_path) == Pins(frozenset({1}), None)
    assert holding_schedules(tmp_path) == set()


def test_a_pin_is_let_go_when_what_it_was_for_fails(tmp_path):
    def fail(step):
        with pinned(tmp_path, step, KeepReason.PROMOTED):
            assert read_pins(tmp_path).hold(step)
            raise KeyError

    keep(tmp_path, 2, KeepReason.PROMOTED)
    for step in (1, 2):
        with pytest.raises(KeyError):
            fail(step)
    with pinned(tmp_path, 3, KeepReason.PROMOTED):
        pass
    assert read_pins(tmp_path).steps == {2, 3}
