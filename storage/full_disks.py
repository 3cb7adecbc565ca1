"""Storage that takes nothing more: found in whatever a library makes of it, and told in one line.

Python hands on the system's number. Others hand on its words in a text of their own (HDF5,
TensorFlow, what ran on another node), or only how much was written (NumPy's `tofile`).
"""

import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

_REMEDIES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or have the quota raised",
    errno.EFBIG: "raise the limit on a file's size (`ulimit -f`), or use another file system",
    errno.EROFS: "mount it so that it can be written, or name another place",
}
# In a traceback that is text, as Ray's: what stands before did not cause what stands behind.
_WHILE_HANDLED = "During handling of the above exception, another exception occurred:"
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
_FEW = 10  # inodes: those of files that did not fit are free again when they are counted
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def refused(error: BaseException) -> OSError | None:
    """What storage said when it took no more, if that is what came of it; None for all else.

    Its file is the one that the error names, and None where it names none.

    Args:
        error: also one that came of the refusal, or, as Ray's `cause`, did so on another node. A
            mistake in a program, made while the refusal was handled, did not come of it.
    """
    found = [refusal for each in _origins(error) if (refusal := _refusal(each)) is not None]
    named = (refusal for refusal in found if refusal.filename is not None)
    return next(named, found[0] if found else None)


def _origins(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it came of, each once."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, getattr(each, "cause", None)]
            if _is_a_librarys(each):
                waiting.append(each.__context__)


def _is_a_librarys(error: BaseException) -> bool:
    """Whether its kind is one that libraries make of what the system says; HDF5 has none of its
    own. Python's other kinds, as TypeError, tell of mistakes."""
    kind = type(error)
    is_pythons = kind.__module__.partition(".")[0] in sys.stdlib_module_names
    return not is_pythons or kind is RuntimeError or isinstance(error, OSError)


def is_refusal(error: BaseException) -> TypeGuard[OSError]:
    """Whether it is the system's own word that storage takes no more."""
    return isinstance(error, OSError) and error.errno in _REMEDIES


def _refusal(error: BaseException) -> OSError | None:
    if is_refusal(error):
        number = error.errno or 0
        return OSError(number, error.strerror or os.strerror(number), _place(error))
    if isinstance(error, OSError) and error.errno is not None:
        return None
    if not _is_a_librarys(error):
        return None
    text = str(error).rpartition(_WHILE_HANDLED)[2].lower()
    numbers = [number for number in _REMEDIES if os.strerror(number).lower() in text]
    if isinstance(error, OSError) and _SHORT_WRITE.search(text):
        numbers.append(errno.ENOSPC)
    return OSError(numbers[0], os.strerror(numbers[0])) if numbers else None


@contextmanager
def writing(
    path: str | os.PathLike[str], temporary: str | os.PathLike[str] | None = None
) -> Iterator[None]:
    """For a block that writes a file or a folder, also through a library.

    Args:
        temporary: the name that it has until it is whole, which tells the user nothing.

    Raises:
        OSError: storage took no more, whatever the library made of it. This and every other one
            names `path`, or the file that it is about.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            if is_refusal(error):
                error.filename, error.filename2 = _place(error), None
            error.filename = _named(_text(error.filename), path, temporary)
            raise
        refusal = refused(error)
        if refusal is None:
            raise
        name = _named(refusal.filename, path, temporary)
        raise OSError(refusal.errno, refusal.strerror, name) from error


def _place(refusal: OSError) -> str | None:
    """Of two files, a source and a target, it is about the target."""
    return _text(refusal.filename if refusal.filename2 is None else refusal.filename2)


def _text(name: Any) -> str | None:
    """Of a file that was given as a path or in bytes; None for a descriptor, which says nothing."""
    return None if name is None or isinstance(name, int) else os.fsdecode(name)


def _named(
    said: str | None, path: str | os.PathLike[str], temporary: str | os.PathLike[str] | None
) -> str:
    if said is None:
        return str(path)
    hidden = temporary is not None and said.startswith(str(temporary))
    return str(path) if hidden else said


def told(refusal: OSError, used: Iterable[str | os.PathLike[str]] = ()) -> str:
    """The line for the user: which file, what the system said, of which disk, what to do.

    Args:
        used: places that may be meant where the refusal names none.
    """
    again = f"{remedy(refusal.errno)}, then give the same command again"
    if _place(refusal) is not None:
        return f"{account(refusal)}; {again}"
    where = ", ".join(full_among(used)) or "`df -h` and `df -i` show where"
    return f"{account(refusal)}: {where}; {again}"


def remedy(number: int | None) -> str:
    """What to do about what the system said of a file.

    Args:
        number: of the error; one that is no refusal has its remedy in what was said.
    """
    return _REMEDIES.get(number or 0, "mend that")


def account(refusal: OSError) -> str:
    """Which file, what the system said, and of which disk, as in "/data/a: No space left on device:
    /data has 12 KiB of 1.0 GiB free"."""
    said = refusal.strerror or os.strerror(refusal.errno or 0)
    place = _place(refusal)
    if place is None:
        return said
    disk = _disk_of(place)
    if disk is None or refusal.errno == errno.EFBIG:
        return f"{place}: {said}"
    room = "" if refusal.errno == errno.EROFS else f" has {_room(disk)}"
    return f"{place}: {said}: {disk}{room}"


def full_among(places: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Of their disks, those with less than a mebibyte or without inodes, each with its room."""
    disks = dict.fromkeys(_disk_of(place) for place in places)
    return [f"{disk} has {_room(disk)}" for disk in disks if disk is not None and _is_full(disk)]


def _is_full(disk: Path) -> bool:
    status = os.statvfs(disk)
    no_inodes = status.f_files > 0 and status.f_favail == 0
    return no_inodes or status.f_bavail * status.f_frsize < 2**20


def _room(disk: Path) -> str:
    status = os.statvfs(disk)
    free = _in_units(status.f_bavail * status.f_frsize)
    if status.f_files > 0 and status.f_favail < _FEW:
        return f"{status.f_favail or 'no'} inodes left for more files, and {free} free"
    return f"{free} of {_in_units(status.f_blocks * status.f_frsize)} free"


def _in_units(size: int) -> str:
    unit = max(0, min(len(_UNITS) - 1, (size.bit_length() - 1) // 10))
    return f"{size / 1024**unit:.{0 if unit < 2 else 1}f} {_UNITS[unit]}"


def _disk_of(place: str | os.PathLike[str]) -> Path | None:
    """Where the disk of a file that may be gone is mounted; None where that is not to be known."""
    if "://" in os.fspath(place):
        return None
    try:
        path = Path(place).absolute()
        while not path.exists():
            path = path.parent
        path = path.resolve()
        while not path.is_mount():
            path = path.parent
        os.statvfs(path)
    except OSError:
        return None
    return path
