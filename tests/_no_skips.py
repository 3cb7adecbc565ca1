"""A plugin for pytest: what skips itself fails, and says what it lacks.

python -m pytest -p tests._no_skips tests/browser
"""

from collections.abc import Generator
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _failed(report, item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _failed(report, collector.nodeid)


def _failed(report: Report, nodeid: str) -> Report:
    # Else it is a test that is expected to fail.
    if report.skipped and isinstance(report.longrepr, tuple):
        report.outcome = "failed"
        report.longrepr = f"{nodeid}: {report.longrepr[2].removeprefix('Skipped: ')}"
    return report
