"""When what lasts is told of."""

from manylabel.storage.reminders import Reminders


def test_it_is_told_ever_more_rarely():
    reminders = Reminders(30.0)
    told = [seconds for seconds in range(500) if reminders.are_due(seconds)]
    assert told == [30, 60, 120, 240, 480]
