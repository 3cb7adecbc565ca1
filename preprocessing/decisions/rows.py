"""Rows of a catalog, each cleaned by what it says itself."""

import math
import posixpath
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.decisions.columns import column, encode, map_distinct
from manylabel.preprocessing.decisions.urls import (
    HIDDEN_USER,
    MISSPELLED_URL,
    PLAIN_URL,
    has_user,
    url_key,
    without_user,
)
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.storage.schema import REJECTED_SCHEMA

ROWS = pa.schema(
    [
        ("image", pa.string()),
        ("spelling", pa.string()),
        ("label", pa.string()),
        ("confidence", pa.float64()),
        ("group", pa.string()),
    ]
)
"""`image`: see `image_key`; `spelling`: the catalog's own where it is another, else null; `label`:
normalised, null for none that can be used; `confidence`: in [0, 1] where there is a label; `group`:
null for none."""

VERIFIED = pa.field("verified", pa.bool_())
"""A further column where labels may contradict each other (`hierarchy.judge_labels`): whether a
person gave the label; else a machine did."""

_URL = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")

_ODD_PATH = rf"^$|^/|/$|//|(^|/)\.\.?(/|$)|\x00|{MISSPELLED_URL}"
"""Matches what `image_id_of` changes or refuses, and nothing else (RE2; an URL has a `//`)."""

_HIDDEN = rf"^[^A-Za-z0-9_/\\]*([A-Za-z][A-Za-z0-9+.-]*:?)?[/\\]+{re.escape(HIDDEN_USER)}"
"""Matches keys whose spelling nobody shall read."""

_PLAIN_NUMBER = r"^[01](\.[0-9]{1,20})?$"
"""What Arrow reads as Python does, and ten times faster: scores are seldom equal."""


_ROUNDED_TO_0 = 2.0**-150
"""The largest number that is 0 as a float of 32 bits, as records have it: a label that is present,
if barely, would be a verified absence there."""


def normalise_label(raw: str) -> str:
    """Unicode NFC, without white space around it; empty when nothing is left.

    Everything else survives as it is, whatever its length: commas, quotes, emoji, capitals.
    """
    return unicodedata.normalize("NFC", raw).strip()


def parse_confidence(raw: str | float) -> float | None:
    """A number in [0, 1], or None for anything else."""
    try:
        value = float(raw)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None


def image_id_of(raw: str) -> str:
    """The path an image is known by: relative to the root, without `.`, `..` or double slashes.

    Raises:
        ImageRejectedError: the path is empty, absolute, an URL, or climbs out of the root.
    """
    if _URL.match(raw) or has_user(raw):
        detail = (
            f"expected a path below the image root, received the URL {without_user(raw)!r}: "
            "pictures are read from files; set catalog.http to {} where all are to be fetched"
        )
        raise ImageRejectedError(RejectReason.BAD_PATH, detail)
    path = posixpath.normpath(raw)
    if not raw or "\0" in raw or path.startswith("/") or path in (".", "..") or path[:3] == "../":
        detail = f"expected a path below the image root, received {raw!r}"
        raise ImageRejectedError(RejectReason.BAD_PATH, detail)
    return path


def image_key(raw: str) -> str:
    """What rows of the same image have in common; a path that is rejected stands for itself."""
    try:
        return image_id_of(raw)
    except ImageRejectedError:
        return without_user(raw)


def are_refused(keys: pa.Array, *, urls: bool = False) -> np.ndarray:
    """Which image keys are paths that `image_id_of`, or `url_id_of`, refuses: all others are
    normalised."""
    return _are_odd(keys, urls=urls).to_numpy(zero_copy_only=False)


def _are_odd(images: pa.Array, *, urls: bool) -> pa.Array:
    if urls:
        return pc.invert(pc.match_substring_regex(images, PLAIN_URL))
    return pc.match_substring_regex(images, _ODD_PATH)


def below_roots(images: pa.Array, roots: Sequence[str]) -> pa.Array:
    """Paths as they are below a root, where they begin with one; others as they are."""
    for root in roots:
        prefix = root.rstrip("/") + "/"
        begins = pc.starts_with(images, prefix)
        if pc.any(begins).as_py():
            below = pc.utf8_ltrim(pc.utf8_slice_codeunits(images, len(prefix)), characters="/")
            images = pc.if_else(begins, below, images)
    return images


def clean_rows(
    raw: pa.Table, *, urls: bool = False, roots: Sequence[str] = ()
) -> tuple[pa.Table, pa.Table]:
    """The rows with what can be used of them (ROWS), and a rejection for each label that cannot.

    Args:
        raw: As `catalogs.read_piece` gives it: image, label, confidence (text or numbers), group;
            and `verified`, which then stays.
        urls: Images are URLs, not paths.
        roots: How the image root may be spelled at the start of absolute paths.
    """
    image, label, confidence = (column(raw, name) for name in ("image", "label", "confidence"))
    path = image if urls else below_roots(image, roots)
    odd = _are_odd(path, urls=urls)
    keys = map_distinct(path.filter(odd), url_key if urls else image_key, pa.string())
    key = pc.replace_with_mask(path, odd, keys)
    as_spelled = pc.or_(pc.equal(key, image), pc.match_substring_regex(key, _HIDDEN))
    name = map_distinct(label, normalise_label, pa.string())
    value = _parsed(confidence)
    empty = pc.equal(name, "").fill_null(False)
    named = pc.and_not(pc.is_valid(name), empty)
    bad = pc.and_(named, pc.is_null(value))
    tiny = pc.and_(pc.greater(value, 0.0), pc.less_equal(value, _ROUNDED_TO_0))
    tiny = pc.and_(named, tiny.fill_null(False))
    rejected = [
        _rejected(key, RejectReason.EMPTY_LABEL, empty, [label], "received {!r:.500}"),
        _rejected(
            key,
            RejectReason.BAD_CONFIDENCE,
            bad,
            [name, confidence],
            "label {!r:.500}: received {!r:.500}",
        ),
        _rejected(
            key,
            RejectReason.TINY_CONFIDENCE,
            tiny,
            [name, confidence],
            "label {!r:.500}: received {!r:.500}; write 0 if it is absent, or at least 1e-45",
        ),
    ]
    none = pa.scalar(None, pa.string())
    columns = [
        key,
        pc.if_else(as_spelled, none, image),
        pc.if_else(pc.or_(empty, pc.or_(bad, tiny)), none, name),
        value,
        column(raw, "group"),
    ]
    rows = pa.table(columns, schema=ROWS)
    if "verified" in raw.column_names:
        rows = rows.append_column(VERIFIED, column(raw, "verified"))
    return rows, pa.concat_tables(rejected)


def _parsed(confidence: pa.Array) -> pa.Array:
    """Numbers in [0, 1]; null for anything else."""
    if pa.types.is_string(confidence.type):
        texts, codes = encode(confidence)
        odd = pc.invert(pc.match_substring_regex(texts, _PLAIN_NUMBER))
        parsed = pa.array(map(parse_confidence, texts.filter(odd).to_pylist()), pa.float64())
        values = pc.if_else(odd, pa.scalar(None, pa.string()), texts).cast(pa.float64())
        values = pc.replace_with_mask(values, odd, parsed)
        confidence = values.take(pa.array(codes, mask=codes < 0))
    # NaN compares as false, so it is no number here either.
    inside = pc.and_(pc.greater_equal(confidence, 0.0), pc.less_equal(confidence, 1.0))
    return pc.if_else(inside, confidence, pa.scalar(None, pa.float64()))


def _rejected(
    key: pa.Array, reason: RejectReason, where: pa.Array, parts: list[pa.Array], text: str
) -> pa.Table:
    values = zip(*(_received(part.filter(where)) for part in parts), strict=True)
    details = [text.format(*value) for value in values]
    columns = [
        key.filter(where),
        pa.repeat(str(reason), len(details)),
        pa.array(details, pa.string()),
    ]
    return pa.table(columns, schema=REJECTED_SCHEMA)


def _received(part: pa.Array) -> list[Any]:
    """A null is told as the empty cell of a CSV."""
    return ["" if value is None else value for value in part.to_pylist()]
