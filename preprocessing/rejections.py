"""Why an image, or one label of an image, is not in the dataset."""

from dataclasses import dataclass
from enum import StrEnum


class RejectReason(StrEnum):
    """The `reason` column of `rejected.parquet`."""

    BAD_PATH = "path not below the image root"
    BAD_URL = "not a URL to fetch"
    MISSING_FILE = "missing file"
    UNREADABLE_FILE = "unreadable file"
    EMPTY_FILE = "empty file"
    TOO_MANY_BYTES = "too many bytes"
    NOT_AN_IMAGE = "not an image of a known format"
    TOO_MANY_PIXELS = "too many pixels"
    TOO_SMALL = "too small"
    TOO_LONG = "too long and thin"
    UNDECODABLE = "cannot be decoded"
    ENDED_PROCESS = "ended the process that read it"
    # Of pictures that are fetched.
    UNREACHABLE = "server not reachable"
    TOO_SLOW = "server too slow"
    NOT_SERVED_NOW = "server does not serve it now"
    BAD_RESPONSE = "unusable answer of the server"
    ADDRESS_REFUSED = "private address"
    NO_LABEL = "no label"
    NO_LABEL_LEFT = "no label left"
    # Of training images beside a held-out set of its own.
    EQUAL_TO_HELDOUT = "equal to a held-out image"
    NEAR_HELDOUT = "looks like a held-out image"
    GROUP_OF_HELDOUT = "in the group of a held-out image"
    # Of images of that set.
    UNKNOWN_LABELS = "labels that training has not"
    # The image itself stays, with its other labels; see LABEL_REASONS.
    EMPTY_LABEL = "label: empty"
    BAD_CONFIDENCE = "label: confidence outside [0, 1]"
    TINY_CONFIDENCE = "label: confidence that float32 rounds to 0"


LABEL_REASONS = frozenset(
    {RejectReason.EMPTY_LABEL, RejectReason.BAD_CONFIDENCE, RejectReason.TINY_CONFIDENCE}
)
"""Reasons that reject one pair of image and label. They do not count as rejected images."""

RETRYABLE = frozenset(
    {
        RejectReason.MISSING_FILE,
        RejectReason.UNREADABLE_FILE,
        RejectReason.EMPTY_FILE,
        RejectReason.NOT_AN_IMAGE,
        RejectReason.UNDECODABLE,
        RejectReason.ENDED_PROCESS,
        RejectReason.UNREACHABLE,
        RejectReason.TOO_SLOW,
        RejectReason.NOT_SERVED_NOW,
        RejectReason.BAD_RESPONSE,
        RejectReason.ADDRESS_REFUSED,
    }
)
"""Reasons of files that are missing or broken, or did not arrive, and may be there and whole when
they are looked at again. The others follow from the catalog, or are of pictures that arrived as
they are."""


@dataclass(frozen=True, order=True)
class Rejection:
    """A row of `rejected.parquet` (REJECTED_SCHEMA); `image_id` as the catalog spells it where the
    path is what is wrong."""

    image_id: str
    reason: RejectReason
    detail: str


class ImageRejectedError(Exception):
    """An image fails the policy; always turned into a counted `Rejection`."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
