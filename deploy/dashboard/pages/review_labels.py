"""Every label of a review, as columns: the table of the page and what stands out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup
from numpy.typing import NDArray

from manylabel.deploy.dashboard.charts.differences import contribution_bar
from manylabel.deploy.dashboard.tables import Column, Filter, Table
from manylabel.eval.config import MetricForm
from manylabel.eval.statistics.bands import BANDS
from manylabel.eval.statistics.labels import FALSE_DISCOVERY_RATE, MINIMUM_GROUPS

_BAND_KEYS: Mapping[str, str] = {
    band.name: f"{band.low}-" if band.high is None else f"{band.low}-{band.high}" for band in BANDS
}
"""Bands as addresses spell them: 100-299, 3000-."""


@dataclass(frozen=True)
class Mover:
    """A label that gained or lost much.

    Attributes:
        class_id: Its row in the dataset's labels.
        name: What it is called.
        images: Held-out images that have it.
        contribution: Its part of the headline difference.
        q: None where there are too few images to tell.
        bar: Its contribution as a bar.
    """

    class_id: int
    name: str
    images: int
    contribution: float
    q: float | None
    bar: Markup


@dataclass(frozen=True, eq=False)
class ReviewLabels:
    """C labels in one form of the metric.

    Attributes:
        table: LABELS_SCHEMA of eval/review/model.py.
        form: Whose contributions and tests are meant.
    """

    table: pa.Table
    form: MetricForm

    def contributions(self) -> NDArray[np.float64]:
        """float64 [C]; they add up to the form's difference."""
        return self._floats(f"{self.form}_contribution")

    def q(self) -> NDArray[np.float64]:
        """float64 [C]; NaN where a label has too few images."""
        return self._floats(f"{self.form}_q")

    def movers(self, count: int) -> tuple[list[Mover], list[Mover]]:
        """The labels that gained most and that lost most, at most `count` of each."""
        contributions = self.contributions()
        order = np.argsort(contributions, kind="stable")
        lost = [row for row in order[:count] if contributions[row] < 0]
        gained = [row for row in order[::-1][:count] if contributions[row] > 0]
        ends = np.abs(contributions[[*lost, *gained]])
        largest = float(ends.max()) if len(ends) else 0.0
        return self._rows(gained, largest), self._rows(lost, largest)

    def _rows(self, rows: Sequence[int], largest: float) -> list[Mover]:
        chosen = self.table.take(pa.array(rows, pa.int64())).to_pylist()
        return [
            Mover(
                class_id=row["class_id"],
                name=row["name"],
                images=row["heldout_count"],
                contribution=row[f"{self.form}_contribution"],
                q=row[f"{self.form}_q"],
                bar=contribution_bar(row[f"{self.form}_contribution"], largest),
            )
            for row in chosen
        ]

    def as_table(self, link: str) -> Table:
        """All of them for the page, largest contribution first.

        Args:
            link: Pattern of the address of a label's page, with {class_id} in it.
        """
        contributions, q = self.contributions(), self.q()
        candidate = self._floats("candidate_average_precision")
        reference = self._floats("reference_average_precision")
        testable, shown = ~np.isnan(q), q <= FALSE_DISCOVERY_RATE
        verdicts = np.where(shown, np.where(contributions > 0, "better", "worse"), "")
        columns = (
            Column("label", "label", self._values("name"), href=link),
            Column(
                "contribution",
                "×10⁻⁴",
                contributions,
                "contribution",
                bar=True,
                help="What the label adds to the difference, in units of 0.0001",
            ),
            Column(
                "q",
                "q",
                q,
                "probability",
                help="Adjusted for the false discovery rate; none where a label has held-out "
                f"images of fewer than {MINIMUM_GROUPS} near-duplicate groups",
                absent="too few",
            ),
            Column("ap_a", "AP", candidate, "ap", help="Average precision of the candidate"),
            Column("ap_b", "was", reference, "ap", help="Average precision of the reference"),
            Column("delta", "ΔAP", candidate - reference, "difference_ap"),
            Column("heldout_count", "held-out images", self._values("heldout_count"), "count"),
            Column("train_count", "training images", self._values("train_count"), "count"),
            Column("class_id", "", self._values("class_id"), "count"),
            Column("band", "", [_BAND_KEYS[each] for each in self._values("band")]),
            Column("testable", "", testable.tolist()),
            Column("shown", "", verdicts.tolist()),
        )
        return Table(
            name="labels",
            columns=columns,
            order="-contribution",
            caption="Every label, and what it adds to the difference",
            noun="labels",
            magnitude=("contribution", "delta"),
            search=("label",),
            filters=(
                Filter(
                    "band", "training images", tuple((_BAND_KEYS[b.name], b.name) for b in BANDS)
                ),
                Filter("shown", "shown", (("better", "better"), ("worse", "worse"))),
                Filter("testable", "enough images to tell", (("true", "yes"),)),
            ),
        )

    def _values(self, name: str) -> list[Any]:
        values: list[Any] = self.table.column(name).to_pylist()
        return values

    def _floats(self, name: str) -> NDArray[np.float64]:
        """A column; null becomes NaN."""
        return np.asarray(self.table.column(name).to_numpy(), dtype=np.float64)
