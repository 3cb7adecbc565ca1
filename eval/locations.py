"""Where results lie, and files that appear there whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from upath import UPath

Location = str | Path | UPath
"""A local path or a URI that fsspec opens."""


@contextmanager
def appearing(path: UPath) -> Iterator[UPath]:
    """Yields a temporary neighbour of `path`, which takes its place when the block succeeds.

    When the block raises, the temporary file is removed and an older `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
    try:
        yield partial
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
