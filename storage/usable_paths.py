"""Paths, as people give them, that can be opened or made at all, and stored."""

import os
from pathlib import Path

_NAME_BYTES, _PATH_BYTES = 255, 4095
"""What Linux opens (NAME_MAX, PATH_MAX without its last byte)."""

_SHOWN = 40
"""Characters of what is too long."""


def usable(text: str) -> str:
    """A path or a URI, with its home directory in place of `~`.

    Raises:
        ValueError, OSError: as `with_home`, or as `refuse_unusable`.
    """
    path = with_home(text)
    refuse_unusable(path)
    return path


def usable_local(text: str) -> Path:
    """A local path: Path("s3://bucket") would be the folder "s3:/bucket".

    Raises:
        ValueError, OSError: it is a URI; or as `usable`.
    """
    _refuse_uri(text)
    return Path(usable(text))


def storable(text: str) -> str:
    """As `usable`, for places of which runs, evaluations and manifests tell: documents are UTF-8.

    Raises:
        ValueError, OSError: its bytes are not, or, as documents hold absolute paths, those of the
            home directory or of the current folder that it begins in; or as `usable`.
    """
    path = usable(text)
    stored = path if "://" in path else str(Path(path).absolute())
    if not is_text(stored):
        raise ValueError(f"expected a path in UTF-8, received {stored!r}; rename it")
    return path


def storable_local(text: str) -> Path:
    """As `usable_local`, for places as those of `storable`.

    Raises:
        ValueError, OSError: it is a URI; or as `storable`.
    """
    _refuse_uri(text)
    return Path(storable(text))


def with_home(text: str) -> str:
    """A home directory for `~`, also where no shell has seen it: --output=~/ds.

    Raises:
        ValueError: there is no such user.
    """
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise ValueError(
            f"expected a path, received {text}, and there is no such user; write ./{text} for a "
            "folder of that name"
        )
    return expanded


def is_text(text: str) -> bool:
    """Whether it can be stored: names and arguments that are not UTF-8 arrive as surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def refuse_unusable(text: str) -> None:
    """Refuses a local path that can never be opened or made, before anything hangs on it.

    Raises:
        ValueError: it holds a character 0; a name in it is too long; it leads through a link to
            nowhere; or it is relative, and the current folder is gone.
    """
    if "\0" in text:
        raise ValueError(f"expected a path without the character 0, received {text[:_SHOWN]!r}")
    if "://" in text:
        return
    longest = max(text.split("/"), key=lambda name: len(os.fsencode(name)))
    if (size := len(os.fsencode(longest))) > _NAME_BYTES:
        raise ValueError(
            f"expected names of at most {_NAME_BYTES} bytes, received one of {size:,} that begins "
            f"{longest[:_SHOWN]!r}"
        )
    if (size := len(os.fsencode(text))) > _PATH_BYTES:
        raise ValueError(
            f"expected a path of at most {_PATH_BYTES:,} bytes, received one of {size:,} that "
            f"begins {text[:_SHOWN]!r}"
        )
    path = Path(text)
    if not (path.is_absolute() or current_folder_is_there()):
        raise ValueError("the current folder was removed; run the command in another one")
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            raise ValueError(
                f"{place}: is a link to {place.readlink()}, which is not there; make that, or "
                "remove the link"
            )


def current_folder_is_there() -> bool:
    """Whether relative paths lead anywhere."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _refuse_uri(text: str) -> None:
    if "://" in text:
        raise ValueError(f"expected a local path, received {text}")
