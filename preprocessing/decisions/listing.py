"""From rows to images, and from equal files to one image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.decisions.columns import (
    column,
    concat,
    encode,
    flatten,
    numbers,
    replace_column,
    run_starts,
    unflatten,
)
from manylabel.preprocessing.decisions.hierarchy import Hierarchy, judge_labels
from manylabel.preprocessing.decisions.image_labels import LABELS, Labels, label_keys
from manylabel.preprocessing.decisions.rows import VERIFIED, are_refused, image_id_of
from manylabel.preprocessing.decisions.urls import url_id_of
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.storage.schema import DUPLICATES_SCHEMA, REJECTED_SCHEMA

IMAGES = pa.schema(
    [("image_id", pa.string()), ("labels", LABELS), ("groups", pa.list_(pa.string()))]
)
"""`image_id`: normalised path below the image root; `groups`: values of the group column, sorted.
"""

CHECKED = pa.schema(
    [
        *IMAGES,
        ("digest", pa.binary(16)),
        ("look", pa.uint64()),
        ("stored_bytes", pa.int64()),
    ]
)
"""With what the files say, see `pictures.checking.FACTS_SCHEMA`."""

LABEL_NAMES = pa.schema([("key", pa.uint64()), ("name", pa.string())])


@dataclass(frozen=True)
class MergedRows:
    """What the rows of some images amount to.

    Attributes:
        images: IMAGES, sorted by `image_id`.
        rejected: Images without a usable path or label; labels were rejected with their rows.
        duplicates: All spellings of a path but one.
        label_names: LABEL_NAMES, each label once.
        listed: Different spellings.
    """

    images: pa.Table
    rejected: pa.Table
    duplicates: pa.Table
    label_names: pa.Table
    listed: int


def merge_rows(
    rows: pa.Table, *, urls: bool = False, hierarchy: Hierarchy | None = None
) -> MergedRows:
    """The images that rows (ROWS) amount to; all rows of an image are in one table.

    Args:
        urls: Images are URLs, not paths.
        hierarchy: Given, rows have the further column VERIFIED, and what they say of an image
            together is judged as in `hierarchy.judge_labels`.
    """
    names, image = _sorted_codes(column(rows, "image"))
    if hierarchy is None:
        labels, label_names = _row_labels(rows, image)
    else:
        labels, label_names = _judged_labels(rows, image, hierarchy)
    duplicates = _other_spellings(rows, names, image)
    groups = _text_lists(image, column(rows, "group"), len(names))
    images = pa.table([names, labels.lists(len(names)), groups], schema=IMAGES)
    good, rejected = _reject(images, labels, urls=urls)
    return MergedRows(
        images=images.filter(pa.array(good)),
        rejected=rejected,
        duplicates=duplicates,
        label_names=label_names,
        listed=len(names) + duplicates.num_rows,
    )


def _sorted_codes(texts: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The different texts, sorted, and for each row the number of its text."""
    distinct, codes = encode(texts)
    order = pc.sort_indices(distinct).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return distinct.take(pa.array(order)), ranks[codes]


def _row_labels(rows: pa.Table, image: np.ndarray) -> tuple[Labels, pa.Table]:
    names, label = encode(column(rows, "label"))
    keys = label_keys(names)
    listed = label >= 0
    labels = Labels(image[listed], keys[label[listed]], numbers(rows, "confidence")[listed])
    return labels.merged(), pa.table([pa.array(keys), names], schema=LABEL_NAMES)


def _judged_labels(
    rows: pa.Table, image: np.ndarray, hierarchy: Hierarchy
) -> tuple[Labels, pa.Table]:
    judged = judge_labels(
        image,
        column(rows, "label"),
        numbers(rows, "confidence"),
        numbers(rows, VERIFIED.name),
        hierarchy,
    )
    keys = label_keys(judged.names)
    labels = Labels(judged.image, keys[judged.label], judged.confidence)
    used = pa.array(np.unique(judged.label))
    names = pa.table([pa.array(keys), judged.names], schema=LABEL_NAMES)
    return labels.merged(), names.take(used)


def _other_spellings(rows: pa.Table, names: pa.Array, image: np.ndarray) -> pa.Table:
    """Every spelling of a path but one: the normalised one, or else the first, stands for it."""
    spelling = column(rows, "spelling")
    other = spelling.is_valid().to_numpy(zero_copy_only=False)
    if not other.any():
        return DUPLICATES_SCHEMA.empty_table()
    spelled_well = np.zeros(len(names), bool)
    spelled_well[image[~other]] = True
    owner, spellings = _distinct_pairs(image[other], spelling.filter(pa.array(other)))
    stands = np.zeros(len(owner), bool)
    stands[run_starts(owner)] = True
    stands &= ~spelled_well[owner]
    columns = [spellings, names.take(pa.array(owner))]
    return pa.table(columns, schema=DUPLICATES_SCHEMA).filter(pa.array(~stands))


def _reject(images: pa.Table, labels: Labels, *, urls: bool) -> tuple[np.ndarray, pa.Table]:
    """Which images may go on, and rejections for the others."""
    bad_path = are_refused(column(images, "image_id"), urls=urls)
    absent = ~bad_path & (labels.present().per_image(images.num_rows) == 0)
    listed = labels.per_image(images.num_rows) > 0
    rejected = [
        rejections(images, where, reason, detail)
        for where, reason, detail in (
            (bad_path, RejectReason.BAD_URL, _bad_url_detail)
            if urls
            else (bad_path, RejectReason.BAD_PATH, _bad_path_detail),
            (absent & listed, RejectReason.NO_LABEL, "only verified absences"),
            (absent & ~listed, RejectReason.NO_LABEL, "listed without a usable label"),
        )
    ]
    return ~bad_path & ~absent, pa.concat_tables(rejected)


def rejections(
    images: pa.Table, where: np.ndarray, reason: RejectReason, detail: str | Callable[[str], str]
) -> pa.Table:
    """Rejections of some images; `detail` is a text, or a function from the path to one."""
    paths = column(images, "image_id").filter(pa.array(where))
    if callable(detail):
        details = pa.array([detail(path) for path in paths.to_pylist()], pa.string())
    else:
        details = pa.repeat(detail, len(paths))
    return pa.table([paths, pa.repeat(str(reason), len(paths)), details], schema=REJECTED_SCHEMA)


def _bad_path_detail(path: str) -> str:
    try:
        image_id_of(path)
    except ImageRejectedError as rejected:
        return rejected.detail
    raise AssertionError(f"{path!r} is a usable path")


def _bad_url_detail(url: str) -> str:
    try:
        url_id_of(url)
    except ImageRejectedError as rejected:
        return rejected.detail
    raise AssertionError(f"{url!r} is a usable URL")


def _text_lists(owner: np.ndarray, texts: pa.Array, rows: int) -> pa.Array:
    """The different texts of each owner, sorted; nulls are left out."""
    valid = texts.is_valid()
    owner, texts = owner[valid.to_numpy(zero_copy_only=False)], texts.filter(valid)
    return unflatten(*_distinct_pairs(owner, texts), rows)


def _distinct_pairs(owner: np.ndarray, texts: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Each pair of owner and text once, sorted."""
    distinct, codes = _sorted_codes(texts)
    order = np.lexsort((codes, owner))
    owner, codes = owner[order], codes[order]
    starts = run_starts(owner, codes)
    return owner[starts], distinct.take(pa.array(codes[starts]))


def merge_equal_files(images: pa.Table) -> tuple[pa.Table, pa.Table]:
    """One image for files of equal bytes, the first by path with the labels and groups of all;
    and the others as duplicates of it.

    Args:
        images: CHECKED, with further columns that are equal for equal files.
    """
    digests, file = encode(column(images, "digest"))
    if len(digests) == images.num_rows:
        return images, DUPLICATES_SCHEMA.empty_table()
    equal = np.bincount(file)[file] > 1
    merged, duplicates = _merge(images.filter(pa.array(equal)), file[equal])
    return concat([images.filter(pa.array(~equal)), merged]), duplicates


def _merge(images: pa.Table, file: np.ndarray) -> tuple[pa.Table, pa.Table]:
    """As `merge_equal_files`, of images whose `file` is equal."""
    order = pc.sort_indices(
        images.append_column("file", pa.array(file)),
        [("file", "ascending"), ("image_id", "ascending")],
    )
    images, file = images.take(order), file[order.to_numpy()]
    firsts = run_starts(file)
    kept = np.repeat(np.arange(len(firsts)), np.diff(np.append(firsts, len(file))))
    labels = Labels.of(images)
    labels = Labels(kept[labels.image], labels.key, labels.confidence).merged()
    grouped, groups = flatten(column(images, "groups"))
    merged = images.take(pa.array(firsts))
    merged = replace_column(merged, "labels", labels.lists(len(firsts)))
    merged = replace_column(merged, "groups", _text_lists(kept[grouped], groups, len(firsts)))
    others = np.ones(len(file), bool)
    others[firsts] = False
    paths = column(images, "image_id")
    columns = [paths.filter(pa.array(others)), paths.take(pa.array(firsts[kept[others]]))]
    return merged, pa.table(columns, schema=DUPLICATES_SCHEMA)
