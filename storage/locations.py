"""Where files lie."""

from pathlib import Path

from upath import UPath

Location = str | Path | UPath
"""A local path or a URI that fsspec opens."""


def is_local(path: UPath) -> bool:
    """Whether it is on this machine's disks, however it is spelled."""
    return path.protocol in ("", "file", "local")
