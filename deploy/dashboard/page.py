"""What a page hands to the frame, which shows it as HTML, JSON, CSV or SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manylabel.deploy.dashboard.charts.svg import Chart
from manylabel.deploy.dashboard.errors import Problem
from manylabel.deploy.dashboard.tables import Table
from manylabel.deploy.dashboard.view import View
from manylabel.eval.config import MetricForm


@dataclass(frozen=True)
class Crumb:
    """A page on the way from Runs to this one; the last is this one."""

    text: str
    href: str


@dataclass(frozen=True)
class Page:
    """Everything about one view.

    Attributes:
        template: Name of its file in templates/.
        title: Of the window.
        view: Its address, with the defaults that its links leave out.
        data: What JSON shows: numbers as they are, not as people read them.
        context: What the template shows beside `data`.
        tables: By name: each is NAME.csv and NAME.json.
        figures: By name: each is NAME.svg.
        problems: What could not be read.
        form: The form that is shown, where the page has the switch between the two.
        trail: The pages from Runs to this one, Runs left out.
    """

    template: str
    title: str
    view: View
    data: Mapping[str, Any]
    context: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    figures: Mapping[str, Chart] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    form: MetricForm | None = None
    trail: Sequence[Crumb] = ()

    @property
    def forms(self) -> bool:
        """Whether the page has the switch."""
        return self.form is not None

    @property
    def section(self) -> str:
        return "runs" if not self.trail else ""
