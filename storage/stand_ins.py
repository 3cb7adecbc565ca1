"""What lies in a file's place when the file itself is not there: what version control, downloads
and crashes leave. Known by their first bytes, so that an error says what to do about them.
"""

from dataclasses import dataclass

from upath import UPath

HEAD_BYTES = 512
"""That are enough to know one."""

_SHOWN = 40
"""Characters of a text that an error repeats."""

_POINTERS = {
    b"version https://git-lfs.github.com/spec/": ("a Git LFS pointer", "git lfs pull"),
    b"version https://hawser.github.com/spec/": ("a Git LFS pointer", "git lfs pull"),
    b"/annex/objects/": ("a git-annex pointer", "git annex get"),
}
_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
}
_WEB_PAGES = (b"<!doctype html", b"<html", b"<head", b"<!--")


@dataclass(frozen=True)
class StandIn:
    """Something that is no file of ours.

    Attributes:
        what: with its article, as in "a Git LFS pointer".
        remedy: what the user can do, as an imperative.
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


def stand_in(head: bytes, ours: bytes | None = None) -> StandIn | None:
    """What a file is that begins with these bytes; None for anything that may be one of ours.

    Args:
        head: The first HEAD_BYTES of the file, or all of a shorter one.
        ours: How the file begins that belongs there, if that is an archive itself.
    """
    if ours is not None and head.startswith(ours):
        return None
    if not head:
        return StandIn("an empty file", "copy it again")
    for beginning, (what, command) in _POINTERS.items():
        if head.startswith(beginning):
            return StandIn(what, f"run `{command}` where it was cloned")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_WEB_PAGES):
        return StandIn("a web page", "download it again, signed in if the server asks for that")
    if text.startswith((b"<?xml", b"<error")):
        return StandIn(
            "XML, as servers answer instead of a file",
            "download it again, with the access that the server asks for",
        )
    for beginning, name in _ARCHIVES.items():
        if head.startswith(beginning):
            return StandIn(f"a file compressed by {name}", "unpack it")
    if not head.strip(b"\0"):
        return StandIn("zeros, as an unfinished download or a crash leaves", "copy it again")
    return None


def text_instead(head: bytes, ours: bytes | None = None) -> StandIn | None:
    """As `stand_in`, of a file that is no text: any text is in its place."""
    if (known := stand_in(head, ours)) is not None:
        return known
    text = head.decode("utf-8", "ignore")
    # At its end a letter may be cut in two; elsewhere nothing may be missing, nor unprintable.
    is_text = len(head) - len(text.encode()) < 4 and all(
        letter.isprintable() or letter in "\r\n\t" for letter in text
    )
    if not is_text:
        return None
    shown = " ".join(text.split())
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    return StandIn(f"text that begins {shown!r}", "copy or download it again")


def read_head(path: UPath, size: int = HEAD_BYTES) -> bytes:
    """The first bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return bytes(file.read(size))
