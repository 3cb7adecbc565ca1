"""From the catalog's rows to one candidate per image."""

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from manylabel.preprocessing.catalogs import CatalogRow
from manylabel.preprocessing.labels import merge_labels, normalise_label, parse_confidence, present
from manylabel.preprocessing.rejections import ImageRejectedError, Rejection, RejectReason


@dataclass(frozen=True)
class Candidate:
    """An image on its way into the dataset; carries keys, never pixels.

    Attributes:
        image_id: Normalised path below the image root.
        labels: As `labels.Labels`, sorted by name.
        groups: Values of the group column, sorted.
        digest: Of the file's bytes; empty until they have been read.
        perceptual_hash: See `images.difference_hash`; empty until then.
        near_duplicate_group: Hash of what may not be parted from it, known once the split is.
    """

    image_id: str
    labels: dict[str, float]
    groups: tuple[str, ...] = ()
    digest: str = ""
    perceptual_hash: bytes = b""
    near_duplicate_group: int = 0


@dataclass(frozen=True, order=True)
class Duplicate:
    """An image that was listed again: by another spelling of its path, or as an equal file.

    Its labels and groups went to the image `kept_image_id`.
    """

    image_id: str
    kept_image_id: str


def image_id_of(raw: str) -> str:
    """The path an image is known by: relative to the root, without `.`, `..` or double slashes.

    Raises:
        ImageRejectedError: the path is empty, absolute, or climbs out of the root.
    """
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
        return raw


def merge_rows(key: str, rows: Iterable[CatalogRow]) -> Iterator[Candidate | Rejection | Duplicate]:
    """The candidate that the rows of one image amount to, or why there is none.

    Besides, a rejection for each label that cannot be used (the image keeps its others), and a
    duplicate for each further spelling of the path.
    """
    rows = list(rows)
    # The normalised spelling stands for the image when it is among them.
    spellings = sorted({row.image for row in rows}, key=lambda raw: (raw != key, raw))
    yield from (Duplicate(spelling, key) for spelling in spellings[1:])
    labels = []
    for row in rows:
        if row.label is None:
            continue
        name, confidence = normalise_label(row.label), parse_confidence(row.confidence)
        if not name:
            yield Rejection(key, RejectReason.EMPTY_LABEL, f"received {row.label!r}")
        elif confidence is None:
            detail = f"label {name!r}: received {row.confidence!r}"
            yield Rejection(key, RejectReason.BAD_CONFIDENCE, detail)
        else:
            labels.append({name: confidence})
    merged = merge_labels(labels)
    try:
        image_id = image_id_of(spellings[0])
        if not present(merged):
            detail = "only verified absences" if merged else "listed without a usable label"
            raise ImageRejectedError(RejectReason.NO_LABEL, detail)
    except ImageRejectedError as rejected:
        yield Rejection(key, rejected.reason, rejected.detail)
    else:
        groups = sorted({row.group for row in rows if row.group is not None})
        yield Candidate(image_id, merged, tuple(groups))


def merge_equal_files(candidates: Iterable[Candidate]) -> Iterator[Candidate | Duplicate]:
    """One candidate for files of equal bytes: the first by path, with the labels of all."""
    first, *others = sorted(candidates, key=lambda candidate: candidate.image_id)
    yield from (Duplicate(other.image_id, first.image_id) for other in others)
    labels = merge_labels(candidate.labels for candidate in (first, *others))
    groups = sorted({group for candidate in (first, *others) for group in candidate.groups})
    yield replace(first, labels=labels, groups=tuple(groups))
