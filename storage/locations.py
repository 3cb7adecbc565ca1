"""Where files lie."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from upath import UPath

Location = str | Path | UPath
"""A local path or a URI that fsspec opens."""


def is_local(path: UPath) -> bool:
    """Whether it is on this machine's disks, however it is spelled."""
    return path.protocol in ("", "file", "local")


def path_below(text: str) -> str:
    """A path that leads nowhere but below the folder that it is joined to.

    Raises:
        ValueError: it is empty or absolute, has a part "..", or is a URI.
    """
    parts = text.split("/")
    is_elsewhere = text.startswith("/") or ".." in parts or _URI.match(text) or "\0" in text
    if is_elsewhere or set(parts) <= {"", "."}:
        raise ValueError(f"expected a path below its folder, received {text!r}")
    return text


def own_path_below(text: str) -> str:
    """As `path_below`, of files that we name ourselves: errors repeat their names as they are.

    Raises:
        ValueError: it has signs that a terminal does not show.
    """
    if not text.isprintable():
        raise ValueError(f"expected the name of a file, received {text!a:.200}")
    return path_below(text)


_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")

PathBelow = Annotated[str, AfterValidator(path_below)]
"""Of a document: a name that is joined to a folder, and may have come from anywhere."""

OwnPathBelow = Annotated[str, AfterValidator(own_path_below)]
"""Likewise, of a file that the document belongs to."""
