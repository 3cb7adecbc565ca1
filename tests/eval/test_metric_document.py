import doctest
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "metric.md"


def test_the_worked_example_is_true():
    result = doctest.testfile(str(DOCUMENT), module_relative=False)
    assert (result.failed, result.attempted) == (0, 28)
