"""The pictures in a folder, by path, and what else lies there.

A file is a picture by its name or by its first bytes: one that only claims to be a picture is then
told of as a bad one, and one without a suffix is still found.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from manylabel.deploy.errors import DeploymentError
from manylabel.storage.errors import printable

# Formats that nothing here reads are among them: their pictures are told of, not passed over.
_SUFFIXES = tuple(
    f".{format_}"
    for format_ in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp"),
        *("tif", "tiff", "heic", "heif", "avif", "jxl", "jp2", "svg"),
    )
)
# BMP's two letters begin too many texts.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
_RIFF, _WEBP = b"RIFF", b"WEBP"  # With four bytes of length between them.


@dataclass(frozen=True)
class ImageFiles:
    """What was found.

    Attributes:
        root: the folder, resolved.
        names: of the pictures, relative to it, sorted; as the system spells them.
        unreadable: folders, relative to it, with what keeps them from being listed.
        others: number of files of each other kind: a suffix, "no suffix", "link to a folder".
    """

    root: Path
    names: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)


def find_images(path: Path) -> ImageFiles:
    """The pictures below a folder; or the one file, whatever it is.

    Hidden files and folders are left out, as in preprocessing's folder catalogs, and are not
    counted. Links to folders are not followed.

    Raises:
        DeploymentError: there is nothing at `path`, or it cannot be read.
    """
    try:
        root = path.resolve(strict=True)
        if not root.is_dir():
            return ImageFiles(root.parent, [root.name])
        os.scandir(root).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle.
        reason = error.strerror if isinstance(error, OSError) else error
        raise DeploymentError(
            f"{path}: expected a folder of images or an image; it cannot be read: {reason}"
        ) from error
    found = ImageFiles(root)
    for relative, kind in _files_below(root, found.unreadable):
        if kind is None:
            found.names.append(relative)
        else:
            found.others[kind] += 1
    found.names.sort()
    return found


def text_of(name: str) -> str:
    """A name as tables hold it: bytes of it that are no UTF-8 become escapes, `\\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def one_line(text: str) -> str:
    """For a terminal: line ends and other characters that are not printed become escapes."""
    return printable(text_of(text))


def _files_below(root: Path, unreadable: dict[str, str]) -> Iterator[tuple[str, str | None]]:
    """Yields each file's relative name, and its kind; None for a picture."""

    def note(error: OSError) -> None:
        unreadable[os.path.relpath(error.filename, root)] = error.strerror or str(error)

    for folder, folders, files in os.walk(root, onerror=note):
        below = PurePath(os.path.relpath(folder, root))
        for name in [name for name in folders if Path(folder, name).is_symlink()]:
            yield str(below / name), "link to a folder"
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield str(below / name), _kind(Path(folder, name))


def _kind(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES or _begins_as_picture(path):
        return None
    return one_line(suffix) or "no suffix"


def _begins_as_picture(path: Path) -> bool:
    """Never of a link, which may lead out of the folder, nor of a pipe, which may never answer."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            begin = file.read(12)
    except OSError:
        return False
    return begin.startswith(_SIGNATURES) or (begin[:4] == _RIFF and begin[8:] == _WEBP)
