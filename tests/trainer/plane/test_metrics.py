"""A row of metrics is the means of its updates, by hand."""

import pytest

from manylabel.trainer.plane.metrics import MetricsRow, MetricsWindow


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def add(window, step, **changes):
    update = {
        "step": step,
        "samples": 8 * step,
        "images": 8,
        "loss": float(step),
        "learning_rate": 0.1 / step,
        "staleness": [step],
        "gradient_norm": 2.0 * step,
    }
    window.add(**(update | changes))


def test_a_row_is_the_means_of_its_updates():
    clock = Clock()
    window = MetricsWindow(3, clock)
    for step in (1, 2, 3):
        clock.now += 2
        assert window.take_rows() == []
        add(window, step)
    clock.now += 50  # belongs to the next row
    expected = MetricsRow(
        step=3,
        samples=24,
        loss=2.0,
        learning_rate=0.1 / 3,
        staleness=2.0,
        max_staleness=3,
        gradient_norm=4.0,
        images_per_second=4.0,
        gradients=3,
        staleness_counts=((1, 1), (2, 1), (3, 1)),
    )
    assert window.take_rows() == [expected]
    assert window.take_rows() == []


def test_the_next_row_begins_anew():
    clock = Clock()
    window = MetricsWindow(2, clock)
    for step in (10, 20, 3, 5):
        clock.now += 1
        add(window, step, images=step)
    first, second = window.take_rows()
    assert (first.loss, second.loss) == (15.0, 4.0)
    assert (first.max_staleness, second.max_staleness) == (20, 5)
    assert second.gradient_norm == 8.0
    assert (first.images_per_second, second.images_per_second) == (15.0, 4.0)


def test_updates_in_the_same_instant_divide_by_no_zero():
    window = MetricsWindow(1, Clock())
    add(window, 1)
    assert window.take_rows()[0].images_per_second == pytest.approx(8e9)


def test_the_last_row_may_be_of_fewer_updates():
    clock = Clock()
    window = MetricsWindow(3, clock)
    for step in (1, 2, 3, 4, 8):
        clock.now += 1
        add(window, step)
    window.finish_row()
    _, last = window.take_rows()
    assert (last.step, last.samples, last.loss) == (8, 64, 6.0)
    assert last.images_per_second == 8.0
    window.finish_row()
    assert window.take_rows() == []


def test_a_row_tells_what_acted_and_the_next_begins_anew():
    window = MetricsWindow(2, Clock())
    window.waited()
    window.dropped()
    window.dropped()
    add(window, 1, staleness=[0, 4, 0], clipped=True)
    add(window, 2, staleness=[2], clipped=True, compensated=True)
    window.waited()
    add(window, 3)
    add(window, 4)
    first, second = window.take_rows()
    assert (first.clipped, first.compensated, first.dropped, first.waited) == (2, 1, 2, 1)
    assert (first.gradients, first.staleness, first.max_staleness) == (4, 1.5, 4)
    assert first.staleness_counts == ((0, 2), (2, 1), (4, 1))
    assert (second.clipped, second.compensated, second.dropped, second.waited) == (0, 0, 0, 1)
    assert second.staleness_counts == ((3, 1), (4, 1))
