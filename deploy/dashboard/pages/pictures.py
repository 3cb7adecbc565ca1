"""Held-out images on a page: where the picture is, where it leads, and what is said below it."""

import re
from dataclasses import dataclass

import pyarrow as pa
from markupsafe import Markup, escape

from manylabel.deploy.dashboard.pages import thumbnail
from manylabel.deploy.dashboard.pages.compared import Compared


@dataclass(frozen=True)
class Picture:
    """One image of a strip.

    Attributes:
        source: Address of the picture; None where the dataset cannot be read.
        href: Of the image's page; "" for no link.
        alt: What is told instead of the picture.
        caption: Below it.
    """

    source: str | None
    href: str
    alt: str
    caption: str


def picture_of(pair: Compared, heldout: pa.Table | None, image_row: int, caption: str) -> Picture:
    """A held-out image of the candidate's dataset.

    Args:
        heldout: HELDOUT_IMAGES_SCHEMA; None where it cannot be read.
        image_row: Its row there.
    """
    there = heldout is not None and image_row < heldout.num_rows
    return Picture(
        source=thumbnail.address(pair.view, pair.candidate.run, image_row) if there else None,
        href=pair.link(f"/images/{image_row}"),
        alt=image_name(heldout, image_row),
        caption=caption,
    )


def image_name(heldout: pa.Table | None, image_row: int) -> str:
    """The image's id, or its number where the dataset cannot be read."""
    if heldout is None or image_row >= heldout.num_rows:
        return f"held-out image {image_row:,}"
    name: str = heldout.column("image_id")[image_row].as_py()
    return name


def breakable(path: str) -> Markup:
    """A path that breaks into lines behind its slashes and underscores."""
    words = re.split(r"(?<=[/_])", path)
    return Markup("<wbr>").join(escape(word) for word in words)
