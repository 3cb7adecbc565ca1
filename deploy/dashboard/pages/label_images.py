"""The held-out images of a label: how both evaluations ranked it in each of them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.tables import Column, Table
from manylabel.eval.config import MetricForm

_WAS = "Rank in the reference"
_GAINS = {MetricForm.IMAGE: "gain", MetricForm.CLASS: "class_gain"}


@dataclass(frozen=True, eq=False)
class LabelImages:
    """M held-out images of a label.

    Attributes:
        image_rows: int64 [M], ascending.
        candidate: int64 [M], the label's rank in each image's ranking; 0: not found.
        reference: Likewise; None without a reference.
        gains: float64 [M], precision at the candidate's place, which the average precision is the
            mean of.
        changes: float64 [M], of that precision; None without a reference.
    """

    image_rows: NDArray[np.int64]
    candidate: NDArray[np.int64]
    reference: NDArray[np.int64] | None
    gains: NDArray[np.float64]
    changes: NDArray[np.float64] | None

    @classmethod
    def of(cls, candidate: pa.Table, reference: pa.Table | None, form: MetricForm) -> Self:
        """From the rows of one class in positives.parquet of both evaluations."""
        gain = _GAINS[form]
        gains = candidate.column(gain).to_numpy()
        image_rows = candidate.column("image_row").to_numpy().astype(np.int64)
        if reference is None or not reference.column("image_row").equals(
            candidate.column("image_row")
        ):
            return cls(image_rows, _ranks(candidate), None, gains, None)
        changes = gains - reference.column(gain).to_numpy()
        return cls(image_rows, _ranks(candidate), _ranks(reference), gains, changes)

    def changed(self, count: int) -> tuple[list[int], list[int]]:
        """Places of the images that gained most and that lost most, at most `count` of each."""
        if self.changes is None:
            return [], []
        order = np.argsort(self.changes, kind="stable")
        lost = [int(place) for place in order[:count] if self.changes[place] < 0]
        gained = [int(place) for place in order[::-1][:count] if self.changes[place] > 0]
        return gained, lost

    def told(self, place: int) -> str:
        """How an image changed, and the label's rank in it: "+0.083, rank 41 → 3", in two lines."""
        now = _rank_told(self.candidate[place])
        if self.reference is None or self.changes is None:
            return f"rank {now}"
        before = _rank_told(self.reference[place])
        return f"{formats.difference_ap(self.changes[place])}\nrank {before} → {now}"

    def as_table(self, names: list[str], link: str) -> Table:
        """All of them for the page, largest change first.

        Args:
            names: Image ids by place.
            link: Pattern of the address of an image's page, with {image_row} in it.
        """
        columns = [
            Column("image", "image", [name.rpartition("/")[2] for name in names], href=link),
            Column("rank_a", "rank", _shown(self.candidate), "count"),
        ]
        if self.reference is not None:
            columns.append(Column("rank_b", "was", _shown(self.reference), "count", help=_WAS))
        columns.append(Column("precision", "precision", self.gains, "ap"))
        if self.changes is not None:
            columns.append(Column("change", "change", self.changes, "difference_ap", bar=True))
        columns.append(Column("image_row", "", self.image_rows, "count"))
        columns.append(Column("image_id", "", names))
        return Table(
            name="images",
            columns=tuple(columns),
            order="precision" if self.changes is None else "-change",
            caption="Held-out images of the label, and its rank in each",
            noun="images",
            magnitude=() if self.changes is None else ("change",),
            search=("image_id",),
        )


def _ranks(positives: pa.Table) -> NDArray[np.int64]:
    ranks = positives.column("rank").fill_null(0).to_numpy()
    return np.asarray(ranks, dtype=np.int64)


def _shown(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Not found: not there."""
    return np.where(ranks > 0, ranks, np.nan)


def _rank_told(rank: int) -> str:
    return f"{rank:,}" if rank else formats.NOTHING
