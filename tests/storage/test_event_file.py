"""Curves for TensorBoard."""

import pytest

from manylabel.storage.event_file import EventFile


@pytest.mark.parametrize("end", [EventFile.flush, EventFile.close])
def test_a_full_disk_is_named(tmp_path, end):
    events = EventFile(tmp_path / "tensorboard")
    events._file.close()
    events._file = open("/dev/full", "wb")  # noqa: SIM115
    events.add(1, {"loss": 2.0})
    with pytest.raises(OSError, match="No space left") as error:
        end(events)
    assert error.value.filename == str(events._path)
