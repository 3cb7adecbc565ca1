"""Curves for TensorBoard."""

import os

import pytest

from manylabel.storage.event_file import EventFile, steps_of


@pytest.mark.parametrize("end", [EventFile.flush, EventFile.close])
def test_a_full_disk_is_named(tmp_path, end):
    events = EventFile(tmp_path / "tensorboard")
    events._file.close()
    events._file = open("/dev/full", "wb")  # noqa: SIM115
    events.add(1, {"loss": 2.0})
    with pytest.raises(OSError, match="No space left") as error:
        end(events)
    assert error.value.filename == str(events._path)


def test_steps_are_those_of_whole_points(tmp_path):
    for steps in ([3, 5], [8, 9]):
        with EventFile(tmp_path) as events:
            for step in steps:
                events.add(step, {"loss": 1.0})
    assert steps_of(tmp_path) == {3, 5, 8, 9}
    first = min(tmp_path.iterdir())
    first.rename(tmp_path / "hidden")
    assert steps_of(tmp_path, [8]) == {8, 9}, "those that are sought are in the newest"
    (tmp_path / "hidden").rename(first)
    assert steps_of(tmp_path, [3, 8]) == {3, 5, 8, 9}
    os.truncate(events._path, events._path.stat().st_size - 1)
    assert steps_of(tmp_path) == {3, 5, 8}
    assert steps_of(tmp_path / "none") == set()
