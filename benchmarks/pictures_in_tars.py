"""Claim: reading a picture at a random place of a tar costs about what reading on costs.

From a tar of 100,000 files (50,000 pictures of 20 kB, each with its `.cls`), a picture that is read
by its name, in random order, takes at most twice the CPU time that the plainest loop takes for
one when it reads the tar from its beginning to its end with Python's `tarfile`; and the headers,
which each process reads once, take at most the time of `tarfile.getmembers`. Their places take less
than 16 MiB.

    python benchmarks/pictures_in_tars.py [--pictures 50000] [--rounds 3] [--folder FOLDER]

A picture is fetched as the job fetches it, from the path of an image to its checked bytes. Beside
it, as the physical limit, what a loop takes that has found all places before and only seeks and
reads. The file is in the page cache. Ends with 1 when the claim does not hold.
"""

import argparse
import io
import os
import random
import statistics
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":  # Beside the modules that it imports, wherever it is started from.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from upath import UPath

from benchmarks._measured import measure
from manylabel.preprocessing.pictures.fetch import fetch
from manylabel.preprocessing.tars import TarIndex, make_index
from manylabel.preprocessing.tars.reading import reader_of

PICTURE_BYTES = 20_000
MOST_OF_A_LOOP = 2.0
MOST_OF_TARFILE = 1.0
MOST_INDEX_BYTES = 16 << 20


def write_tar(path: Path, pictures: int) -> None:
    """Members as WebDataset's writer orders them."""
    picture = random.Random(0).randbytes(PICTURE_BYTES)
    with tarfile.open(path, "w") as tar:
        for number in range(pictures):
            for extension, content in (("cls", b"7"), ("jpg", picture)):
                info = tarfile.TarInfo(f"{number:09d}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def read_on(path: Path) -> int:
    """The plainest loop; bytes of pictures."""
    size = 0
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.endswith(".jpg"):
                file = tar.extractfile(member)
                assert file is not None
                size += len(file.read())
    return size


def fetch_all(folder: Path, names: list[str]) -> int:
    """As the job does."""
    root = UPath(folder).resolve()
    return sum(len(fetch(root, name, 1 << 30)) for name in names)


def list_members(path: Path) -> None:
    """As who has them all in memory."""
    with tarfile.open(path) as tar:
        tar.getmembers()


def index_of(path: Path) -> TarIndex:
    """As each process makes it once."""
    with path.open("rb") as file:
        return make_index(*reader_of(file))


def seek_and_read(path: Path, places: list[tuple[int, int]]) -> int:
    """The physical limit."""
    with path.open("rb") as file:
        return sum(len(os.pread(file.fileno(), size, offset)) for offset, size in places)


def cpu_of(rounds: int, work: Callable[[], object]) -> float:
    """Median of its CPU seconds."""
    return statistics.median(measure(work).cpu_seconds for _ in range(rounds))


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "x.tar"
        write_tar(path, arguments.pictures)
        names = [f"x.tar/{number:09d}.jpg" for number in range(arguments.pictures)]
        random.Random(1).shuffle(names)
        with tarfile.open(path) as tar:
            of = {member.name: (member.offset_data, member.size) for member in tar}
        places = [of[name.removeprefix("x.tar/")] for name in names]
        assert read_on(path) == fetch_all(Path(folder), names) == seek_and_read(path, places)
        loop = cpu_of(arguments.rounds, lambda: read_on(path))
        fetched = cpu_of(arguments.rounds, lambda: fetch_all(Path(folder), names))
        limit = cpu_of(arguments.rounds, lambda: seek_and_read(path, places))
        members = cpu_of(arguments.rounds, lambda: list_members(path))
        headers = cpu_of(arguments.rounds, lambda: index_of(path))
        index = index_of(path)
    index_bytes = index.keys.nbytes + index.blocks.nbytes
    for name, seconds in (("fetched", fetched), ("tarfile's loop", loop), ("limit", limit)):
        print(f"{name}: {1000 * seconds / arguments.pictures:.3f} CPU ms a picture")
    print(
        f"headers: {headers:.2f} CPU s, by tarfile {members:.2f}; {index_bytes:,} bytes of places"
    )
    holds = (
        fetched <= MOST_OF_A_LOOP * loop
        and headers <= MOST_OF_TARFILE * members
        and index_bytes <= MOST_INDEX_BYTES
    )
    print(
        f"{'holds' if holds else 'DOES NOT HOLD'}: {fetched / loop:.2f} of the loop (at most "
        f"{MOST_OF_A_LOOP}), headers {headers / members:.2f} of tarfile (at most {MOST_OF_TARFILE})"
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
