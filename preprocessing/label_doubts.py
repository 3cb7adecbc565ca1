"""What in a table looks like labels of another form than the settings say, and what to set.

Told, never acted on: a label may be called as it is. Only the first rows are looked at, and of
their labels the most frequent ones, so that it costs little and says the same each time.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.catalog_config import CatalogConfig, CatalogFormat, LabelCells
from manylabel.preprocessing.catalogs import detect_format, first_rows
from manylabel.preprocessing.catalogs.label_lists import ListForm, form_of
from manylabel.preprocessing.decisions.columns import column
from manylabel.preprocessing.decisions.rows import clean_rows
from manylabel.preprocessing.errors import PreprocessingError

_MOST_LABELS = 10_000
_MOST_COMPARED = 300
"""With each other."""

_MOST_SHOWN = 6

_SIGNS = ("|", ";", "\t", "\n")
"""That hardly stand in a label's name."""

_NAMES_OF_NOTHING = frozenset({"nan", "none", "null", "na", "n/a", "<na>", "nat"})

_SAYS_WHETHER = re.compile(r"(?i)true|false|yes|no|[tfyn]|[-+]?[01](\.0*)?|0?\.\d+")
"""A cell of a column that is a label itself: whether an image has it, or how surely."""

_IN_BRACKETS = re.compile(r"\s*([\[{(]|[a-z]+\(\[?).*[\])}]\s*", re.DOTALL).fullmatch

_DECIMAL_COMMA = re.compile(r"\W\d+,\d+\W")
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
_FILE_NAME = re.compile(r"(?i).*\.(jpe?g|png|webp|gif|bmp|tiff?)")

_FEW_ROWS = 20
"""Of fewer, each may well have a label of its own."""

_SOME, _SEVERAL, _MOST, _NEARLY_ALL = 0.1, 0.3, 0.5, 0.9
"""Shares of rows."""


@dataclass(frozen=True)
class _Sample:
    """The first rows of a table, with their labels.

    Attributes:
        config: Of the table.
        labels: How many rows have each, the most frequent first, and no more than `_MOST_LABELS`.
        rows: That have a label.
        distinct: Labels.
        images: Different ones.
        bad: Of each label, what stands where a confidence should be, and how often.
    """

    config: CatalogConfig
    labels: Mapping[str, int]
    rows: int
    distinct: int
    images: int
    bad: Mapping[str, Counter[str]]

    def share(self, fits: Callable[[str], object]) -> float:
        """Of the rows with the labels that are looked at, those whose label fits."""
        fitting = sum(count for name, count in self.labels.items() if fits(name))
        return fitting / sum(self.labels.values())

    def first(self, fits: Callable[[str], object]) -> str:
        """The most frequent label that fits, for a line."""
        return _quoted(next(filter(fits, self.labels)))

    def setting(self, name: str) -> str:
        return f"{self.config.SECTION}.{name}"


def label_doubts(config: CatalogConfig) -> list[str]:
    """A line for each thing that looks wrong, with the setting that would mend it.

    Raises:
        PreprocessingError: columns of a wide table that a pattern chose are no labels.
    """
    raw = first_rows(config)
    sample = None if raw is None else _sample(raw, config)
    if sample is None or not sample.rows:
        return []
    if config.label_cells is LabelCells.NAMES:
        return _names_of_nothing(sample)
    if config.label_columns:
        _check_chosen_columns(sample)
        return [*_bad_columns(sample), *_names_of_nothing(sample)]
    forms = _lists(sample) or _joined(sample) or _one_of_many_columns(sample) or _own_names(sample)
    return [*forms, *_bad_confidences(sample), *_names_of_nothing(sample)]


def _sample(raw: pa.Table, config: CatalogConfig) -> _Sample:
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
            bad.setdefault(name, Counter())[_quoted(value)] += 1
    return _Sample(
        config,
        labels={each["values"]: each["counts"] for each in counts[:_MOST_LABELS]},
        rows=listed.num_rows,
        distinct=len(counts),
        images=pc.count_distinct(column(raw, "image")).as_py(),
        bad=bad,
    )


def _lists(sample: _Sample) -> list[str]:
    if sample.config.label_separator in list(ListForm) or sample.share(_IN_BRACKETS) < _MOST:
        return []
    shown = sample.first(_IN_BRACKETS)
    setting = sample.setting("label_separator")
    if sample.share(form_of) < _MOST:
        return [
            f"labels such as {shown} look like lists or objects, of no form that is known: write "
            f'lists of texts, such as ["haze", "clear"], and set {setting} to json'
        ]
    forms = {form_of(name) for name in sample.labels} - {None}
    form = ListForm.LIST if ListForm.LIST in forms else ListForm.JSON
    return [f"labels such as {shown} look like lists: set {setting} to {form}"]


def _joined(sample: _Sample) -> list[str]:
    for sign in (*_SIGNS, ",", " "):
        has_sign = re.compile(rf".*\S{re.escape(sign)}\s*\S", re.DOTALL).match
        if sample.share(has_sign) < _SOME:
            continue
        parts = [{part.strip() for part in name.split(sign)} - {""} for name in sample.labels]
        if set().union(*parts) <= {"0", "1"}:
            return [_without_names(sample, sample.first(has_sign))]
        if sign in _SIGNS or (_is_alone(sample) and _recur(parts, sign)):
            return [
                f"labels such as {sample.first(has_sign)} look like several in one: set "
                f"{sample.setting('label_separator')} to {sign!r}"
            ]
    return []


def _is_alone(sample: _Sample) -> bool:
    """Whether an image has one row; one with several labels has a row for each of them already."""
    return sample.rows <= (1 + _SOME) * sample.images


def _recur(parts: list[set[str]], sign: str) -> bool:
    """Whether labels have their parts in common, as names in which there is this sign seldom have.

    The parts of 'tench, Tinca tinca' are in no other label. Those of 'polar bear' may be in
    several, but seldom both of them in one, unless words are labels.
    """
    counts = Counter(part for each in parts for part in each)
    recurring = sum(count for count in counts.values() if count > 1) / sum(counts.values())
    if sign != " ":
        return recurring >= _MOST
    parts = parts[:_MOST_COMPARED]
    alone = {part for each in parts if len(each) == 1 for part in each}
    several = [each for each in parts if len(each) > 1]
    made_of_others = [
        each
        for each in several
        if len(each & alone) > 1 or any(each < other or other < each for other in several)
    ]
    return recurring >= _MOST and len(made_of_others) >= _SEVERAL * len(several)


def _one_of_many_columns(sample: _Sample) -> list[str]:
    if not all(map(_SAYS_WHETHER.fullmatch, sample.labels)):
        return []
    if not _is_alone(sample):
        return [_without_names(sample, _several(sample.labels))]
    return [
        f"all labels are such as {_several(sample.labels)}, which say whether an image has a "
        f"label: set {sample.setting('label_columns')} to the columns that are labels, or to '*' "
        "for all that no other setting names"
    ]


def _without_names(sample: _Sample, shown: str) -> str:
    return (
        f"labels such as {shown} have a digit for each label and no names: write a column for "
        f"each, with its name in the header, and set {sample.setting('label_columns')} to '*'"
    )


def _own_names(sample: _Sample) -> list[str]:
    files = sample.share(_FILE_NAME.fullmatch) >= _MOST
    if not files and (sample.rows < _FEW_ROWS or sample.distinct < _NEARLY_ALL * sample.rows):
        return []
    return [
        f"{sample.distinct:,} labels in {sample.rows:,} rows, such as {_several(sample.labels)}, "
        f"look like names of images: set {sample.setting('label_column')} to the column of labels"
    ]


def _bad_confidences(sample: _Sample) -> list[str]:
    values = sum(sample.bad.values(), Counter[str]())
    if values.total() < _SOME * sample.rows:
        return []
    shown = values.most_common(1)[0][0]
    if _DECIMAL_COMMA.fullmatch(shown):
        return [f"confidences such as {shown} reject their labels: write a point for the comma"]
    return [
        f"confidences such as {shown} are no numbers in [0, 1] and reject their labels: divide "
        f"them, or set {sample.setting('confidence_column')} to another column, or to null"
    ]


def split_doubts(config: CatalogConfig, labels: Iterable[str]) -> list[str]:
    """A line where the labels of a folder tree are names of splits, whose images are mixed then."""
    splits = sorted(label for label in labels if label.casefold() in _SPLITS)
    if detect_format(config) is not CatalogFormat.FOLDER or len(splits) < 2:
        return []
    return [
        f"labels called {_several(splits)} look like splits, whose images are mixed here: set "
        f"{config.SECTION}.path to the folder of one, and preprocessing.heldout.catalog.path to "
        "that of another"
    ]


def _check_chosen_columns(sample: _Sample) -> None:
    """Of a column that is no label, most cells are no confidences, and not all the same."""
    config = sample.config
    wrong = {
        name: values
        for name, values in sample.bad.items()
        if name not in config.label_columns
        and len(values) > 1
        and values.total() > _MOST * sample.images
    }
    if wrong:
        columns = ", ".join(f"{name!r} ({_most(wrong[name])})" for name in [*wrong][:_MOST_SHOWN])
        left_out = ", ".join(f"'!{name}'" for name in [*wrong][:_MOST_SHOWN])
        raise PreprocessingError(
            f"{config.path}: expected 0, 1, true, false or numbers in [0, 1] in columns of labels, "
            f"received in {columns}; add {left_out} to {sample.setting('label_columns')} where "
            f"they are no labels, set {sample.setting('label_cells')} to names where cells are "
            "labels, or else change the cells"
        )


def _bad_columns(sample: _Sample) -> list[str]:
    wrong = {
        name: values
        for name, values in sample.bad.items()
        if values.total() >= _SOME * sample.labels.get(name.strip(), 0)
    }
    if not wrong:
        return []
    columns = ", ".join(f"{name!r} ({_most(wrong[name])})" for name in [*wrong][:_MOST_SHOWN])
    more = f" and {len(wrong) - _MOST_SHOWN} more" if len(wrong) > _MOST_SHOWN else ""
    values = sum(wrong.values(), Counter[str]())
    return [
        f"columns {columns}{more} have cells that are no numbers in [0, 1] and are rejected: set "
        f"{sample.setting('null_values')} to [{_most(values)}] where they say nothing, or write 1 "
        "for yes and 0 for no"
    ]


def _names_of_nothing(sample: _Sample) -> list[str]:
    names = [name for name in sample.labels if name.lower() in _NAMES_OF_NOTHING]
    if not names:
        return []
    return [
        f"labels called {_several(names)}: set {sample.setting('null_values')} to "
        f"[{_several(names)}] where they say that there is none"
    ]


def _several(names: Mapping[str, int] | list[str]) -> str:
    return ", ".join(_quoted(name) for name in list(names)[:_MOST_SHOWN])


def _most(values: Counter[str]) -> str:
    return values.most_common(1)[0][0]


def _quoted(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
