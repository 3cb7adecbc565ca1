"""Where files lie."""

from pathlib import Path

from upath import UPath

Location = str | Path | UPath
"""A local path or a URI that fsspec opens."""
