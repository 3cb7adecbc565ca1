"""What in a table looks like labels of another form than the settings say, and what to set.

Told, never acted on: a label may be called as it is. Only the first rows are looked at, and of
their labels the most frequent ones, so that it costs little and says the same each time.
"""

import re
from collections import Counter
from collections.abc import Iterable

from manylabel.preprocessing.catalog_config import CatalogConfig, CatalogFormat, LabelCells
from manylabel.preprocessing.catalogs import detect_format, first_rows
from manylabel.preprocessing.catalogs.label_lists import ListForm, form_of
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.label_sample import MOST_SHOWN, LabelSample, sample_of, some_of

_MOST_COMPARED = 300
"""With each other."""

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


def label_doubts(config: CatalogConfig) -> list[str]:
    """A line for each thing that looks wrong, with the setting that would mend it.

    Raises:
        PreprocessingError: columns of a wide table that a pattern chose are no labels.
    """
    raw = first_rows(config)
    sample = None if raw is None else sample_of(raw, config)
    if sample is None or not sample.rows:
        return []
    if config.label_cells is LabelCells.NAMES:
        return _names_of_nothing(sample)
    if config.label_columns:
        _check_chosen_columns(sample)
        return [*_bad_columns(sample), *_names_of_nothing(sample)]
    forms = _lists(sample) or _joined(sample) or _one_of_many_columns(sample) or _own_names(sample)
    return [*forms, *_bad_confidences(sample), *_names_of_nothing(sample)]


def _lists(sample: LabelSample) -> list[str]:
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


def _joined(sample: LabelSample) -> list[str]:
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


def _is_alone(sample: LabelSample) -> bool:
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


def _one_of_many_columns(sample: LabelSample) -> list[str]:
    if not all(map(_SAYS_WHETHER.fullmatch, sample.labels)):
        return []
    if sample.of_tars and sample.rows <= 2 * sample.images:
        return []  # Two classes, by number.
    if not _is_alone(sample):
        return [_without_names(sample, some_of(sample.labels))]
    return [
        f"all labels are such as {some_of(sample.labels)}, which say whether an image has a "
        f"label: set {sample.setting('label_columns')} to the columns that are labels, or to '*' "
        "for all that no other setting names"
    ]


def _without_names(sample: LabelSample, shown: str) -> str:
    remedy = (
        "write the names or numbers of the picture's own labels"
        if sample.of_tars
        else "write a column for each, with its name in the header, and set "
        f"{sample.setting('label_columns')} to '*'"
    )
    return f"labels such as {shown} have a digit for each label and no names: {remedy}"


def _own_names(sample: LabelSample) -> list[str]:
    files = sample.share(_FILE_NAME.fullmatch) >= _MOST
    if not files and (sample.rows < _FEW_ROWS or sample.distinct < _NEARLY_ALL * sample.rows):
        return []
    remedy = (
        f"or captions: set {sample.setting('webdataset.labels')} to the extension of the files "
        "with labels"
        if sample.of_tars
        else f": set {sample.setting('label_column')} to the column of labels"
    )
    return [
        f"{sample.distinct:,} labels in {sample.rows:,} rows, such as {some_of(sample.labels)}, "
        f"look like names of images{' ' if sample.of_tars else ''}{remedy}"
    ]


def _bad_confidences(sample: LabelSample) -> list[str]:
    values = sum(sample.bad.values(), Counter[str]())
    if values.total() < _SOME * sample.rows:
        return []
    shown = values.most_common(1)[0][0]
    if _DECIMAL_COMMA.fullmatch(shown):
        return [f"confidences such as {shown} reject their labels: write a point for the comma"]
    setting = sample.setting("confidence_column")
    remedy = "write lists" if sample.of_tars else f"set {setting} to another column, or to null"
    return [
        f"confidences such as {shown} are no numbers in [0, 1] and reject their labels: divide "
        f"them, or {remedy}"
    ]


def split_doubts(config: CatalogConfig, labels: Iterable[str]) -> list[str]:
    """A line where the labels of a folder tree are names of splits, whose images are mixed then."""
    splits = sorted(label for label in labels if label.casefold() in _SPLITS)
    if detect_format(config) is not CatalogFormat.FOLDER or len(splits) < 2:
        return []
    return [
        f"labels called {some_of(splits)} look like splits, whose images are mixed here: set "
        f"{config.SECTION}.path to the folder of one, and preprocessing.heldout.catalog.path to "
        "that of another"
    ]


def _check_chosen_columns(sample: LabelSample) -> None:
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
        columns = ", ".join(f"{name!r} ({_most(wrong[name])})" for name in [*wrong][:MOST_SHOWN])
        left_out = ", ".join(f"'!{name}'" for name in [*wrong][:MOST_SHOWN])
        raise PreprocessingError(
            f"{config.path}: expected 0, 1, true, false or numbers in [0, 1] in columns of labels, "
            f"received in {columns}; add {left_out} to {sample.setting('label_columns')} where "
            f"they are no labels, set {sample.setting('label_cells')} to names where cells are "
            "labels, or else change the cells"
        )


def _bad_columns(sample: LabelSample) -> list[str]:
    wrong = {
        name: values
        for name, values in sample.bad.items()
        if values.total() >= _SOME * sample.labels.get(name.strip(), 0)
    }
    if not wrong:
        return []
    columns = ", ".join(f"{name!r} ({_most(wrong[name])})" for name in [*wrong][:MOST_SHOWN])
    more = f" and {len(wrong) - MOST_SHOWN} more" if len(wrong) > MOST_SHOWN else ""
    values = sum(wrong.values(), Counter[str]())
    return [
        f"columns {columns}{more} have cells that are no numbers in [0, 1] and are rejected: set "
        f"{sample.setting('null_values')} to [{_most(values)}] where they say nothing, or write 1 "
        "for yes and 0 for no"
    ]


def _names_of_nothing(sample: LabelSample) -> list[str]:
    names = [name for name in sample.labels if name.lower() in _NAMES_OF_NOTHING]
    if not names:
        return []
    return [
        f"labels called {some_of(names)}: set {sample.setting('null_values')} to "
        f"[{some_of(names)}] where they say that there is none"
    ]


def _most(values: Counter[str]) -> str:
    return values.most_common(1)[0][0]
