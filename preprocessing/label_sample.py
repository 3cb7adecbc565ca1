"""The first rows of a catalog as far as they have labels, to tell what looks odd in them."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.catalog_config import CatalogConfig, CatalogFormat
from manylabel.preprocessing.catalogs import detect_format
from manylabel.preprocessing.decisions.columns import column
from manylabel.preprocessing.decisions.rows import clean_rows

MOST_LABELS = 10_000
MOST_SHOWN = 6


@dataclass(frozen=True)
class LabelSample:
    """The first rows of a table, or those that the first samples in tars make, with their labels.

    Attributes:
        config: Of the catalog.
        labels: How many rows have each, the most frequent first, and no more than `MOST_LABELS`.
        rows: That have a label.
        distinct: Labels.
        images: Different ones.
        bad: Of each label, what stands where a confidence should be, and how often.
        of_tars: There are no columns.
    """

    config: CatalogConfig
    labels: Mapping[str, int]
    rows: int
    distinct: int
    images: int
    bad: Mapping[str, Counter[str]]
    of_tars: bool

    def share(self, fits: Callable[[str], object]) -> float:
        """Of the rows with the labels that are looked at, those whose label fits."""
        fitting = sum(count for name, count in self.labels.items() if fits(name))
        return fitting / sum(self.labels.values())

    def first(self, fits: Callable[[str], object]) -> str:
        """The most frequent label that fits, for a line."""
        return quoted(next(filter(fits, self.labels)))

    def setting(self, name: str) -> str:
        return f"{self.config.SECTION}.{name}"


def sample_of(raw: pa.Table, config: CatalogConfig) -> LabelSample:
    """What is told of rows as `rows.raw_table` describes them."""
    rows, _ = clean_rows(raw)
    named = column(raw, "label")
    listed = raw.filter(pc.is_valid(named))
    counts = pc.value_counts(pc.utf8_trim_whitespace(column(listed, "label"))).to_pylist()
    counts.sort(key=lambda each: (-each["counts"], each["values"]))
    bad: dict[str, Counter[str]] = {}
    unusable = raw.filter(pc.and_(pc.is_valid(named), pc.is_null(column(rows, "label"))))
    for name, value in zip(
        *(column(unusable, part).to_pylist() for part in ("label", "confidence")), strict=True
    ):
        if name.strip():
            bad.setdefault(name, Counter())[quoted(value)] += 1
    return LabelSample(
        config,
        labels={each["values"]: each["counts"] for each in counts[:MOST_LABELS]},
        rows=listed.num_rows,
        distinct=len(counts),
        images=pc.count_distinct(column(raw, "image")).as_py(),
        bad=bad,
        of_tars=detect_format(config) is CatalogFormat.WEBDATASET,
    )


def some_of(names: Mapping[str, int] | list[str]) -> str:
    """The first of them, for a line."""
    return ", ".join(quoted(name) for name in list(names)[:MOST_SHOWN])


def quoted(value: object) -> str:
    """As much of it as fits a line."""
    text = str(value)
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
