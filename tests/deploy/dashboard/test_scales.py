"""Where numbers stand on an axis."""

import sys

from manylabel.deploy.dashboard.charts.scales import Scale


def test_a_training_that_diverged_has_an_axis_all_the_same():
    """A learning rate next to the largest float: the next power of ten is none any more."""
    high = sys.float_info.max / 2
    ticks = Scale(1e-3, high, 0, 100, logarithmic=True).ticks(5)
    assert 0 < len(ticks) <= 6
    assert all(1e-3 <= tick <= high for tick in ticks)
