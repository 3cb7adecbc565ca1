"""The address of a page: what it shows, how other pages and files are linked from it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import quote, urlencode

from manylabel.deploy.dashboard.errors import BadAddress
from manylabel.eval.config import MetricForm

_KEPT = ("form", "settings")
"""Parameters that go along from page to page."""

_SETTINGS = re.compile(r"[A-Za-z0-9_-]{1,100}")
_EXAMPLE = "training_share-0123456789ab"

_PLAIN = "@:/,"
"""Characters that addresses show as they are: RUN@STEP stays readable."""


_MOST_DIGITS = 9
"""Of class ids, image rows and steps, which files hold in 32 bits."""


def number(text: str) -> int | None:
    """A number of an address; None for a word that is none, or has more digits than any of ours."""
    is_one = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if is_one else None


@dataclass(frozen=True)
class View:
    """One page's address; its parameters hold all of the page's state, defaults left out.

    Attributes:
        path: Of the page, not quoted, without an ending such as ".json".
        parameters: By name, as they were received.
        defaults: Values that links leave out, by parameter.

    Raises:
        BadAddress: the settings have a name that evaluations never have.
    """

    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Names of settings become names of folders wherever they are used: no other is let in."""
        settings = self.parameters.get("settings")
        if settings and not _SETTINGS.fullmatch(settings):
            raise BadAddress(f"settings={settings}: expected a name such as {_EXAMPLE}")

    def with_defaults(self, **defaults: str) -> Self:
        """Knows values that need not be in an address, such as the headline's form."""
        return replace(self, defaults={**self.defaults, **defaults})

    def text(self, name: str) -> str | None:
        """A parameter; the default where the address has none."""
        return self.parameters.get(name) or self.defaults.get(name)

    def required(self, name: str, example: str) -> str:
        """Raises BadAddress, with an example, where there is no such parameter."""
        value = self.text(name)
        if value is None:
            raise BadAddress(f"{self.path}: expected ?{name}={example}, received none")
        return value

    def choice(self, name: str, options: tuple[str, ...]) -> str | None:
        """A parameter that is one of several words; raises BadAddress for another."""
        value = self.text(name)
        if value is not None and value not in options:
            raise BadAddress(f"{name}={value}: expected one of {', '.join(options)}")
        return value

    @property
    def form(self) -> MetricForm | None:
        """Which form of the metric; None: that of the evaluation's headline."""
        value = self.choice("form", tuple(MetricForm))
        return None if value is None else MetricForm(value)

    def shown(self) -> dict[str, str]:
        """The parameters that links to this page have."""
        return self._without_defaults(self.parameters)

    def url(self, **changes: str | None) -> str:
        """This page with other parameters; None takes one away."""
        return self._link(self.path, {**self.parameters, **changes})

    def to(self, path: str, **parameters: str | None) -> str:
        """Another page, to which the form and the settings go along."""
        kept = {name: value for name, value in self.parameters.items() if name in _KEPT}
        return self._link(path, {**kept, **parameters})

    def export(self, name: str) -> str:
        """This page as a file: "json", or one of its tables or figures, "labels.csv"."""
        path = self.path.rstrip("/")
        if name == "json":
            return self._link(f"{path or '/runs'}.json", self.parameters)
        return self._link(f"{path}/{name}", self.parameters)

    def _link(self, path: str, parameters: Mapping[str, str | None]) -> str:
        query = urlencode(self._without_defaults(parameters), safe=_PLAIN)
        return quote(path, safe=_PLAIN) + (f"?{query}" if query else "")

    def _without_defaults(self, parameters: Mapping[str, str | None]) -> dict[str, str]:
        return {
            name: value
            for name, value in parameters.items()
            if value and value != self.defaults.get(name)
        }
