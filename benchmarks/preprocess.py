"""Claims: two processes, the store step against OpenCV, and the whole command against img2dataset.

    python benchmarks/preprocess.py [--pictures 10000] [--rounds 3] [--folder FOLDER]
        [--img2dataset PYTHON]

1. With two processes a dataset is made at least 1.7 times as fast as with one.
2. On one core the step that stores pictures is at least 0.7 times as fast as the plainest loop with
   OpenCV (INTER_AREA) by Lanczos, which is better, and 0.95 times by area, which is as good.
3. The whole command, with two processes, beside that of img2dataset on the same URLs: told.

The product's whole job, from the call to the manifest, on made-up photographs of 500 by 375 pixels
(_made_up_photos.py), which the page cache holds: its processes' start, every picture read, decoded
and hashed, and read, reduced to 320 pixels and written. With each executor, and beside it the job
of commit db3c898 with one and two Beam processes. Shards are of 128 pictures, so that at the end no
process waits for the last one, as in a job of thousands of shards.

Each figure is of a process of its own, in which the job was imported before; medians of rounds in
which the sides take turns. Memory is of the process and all that it started. Checks that all sides
wrote as many pictures, and that today's wrote the same bytes. Wall clock counts: the machine should
be idle, with two cores or more. Ends with 1 when a claim does not hold.

OpenCV and img2dataset are no libraries of ours: 2 and 3 are left out without the Python of an
environment in which they are, `python -m venv V && V/bin/pip install img2dataset==1.47.0`.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree

if __name__ == "__main__":  # Beside the modules that it imports, wherever it is started from.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _earlier_code, _store_step, _whole_command
from benchmarks._made_up_photos import write_photos
from benchmarks._measured import Measured, measure, median, tell, told_with_children
from manylabel.preprocessing.pictures.images import store
from manylabel.storage.image_policy import ImageConfig, Resampling

IMAGES_PER_SHARD = 128
CLAIM = 1.7  # times as many pictures a second
STORE_CLAIMS = {Resampling.LANCZOS: 0.7, Resampling.AREA: 0.95}
STORED = 500  # pictures
ONE, TWO = "processes, 1", "processes, 2"
TODAY: dict[str, tuple[str, int | None]] = {
    "inline": ("inline", None),
    ONE: ("processes", 1),
    TWO: ("processes", 2),
    "ray": ("ray", None),
}

Side = Callable[[Path, Path], Measured]


@dataclass(frozen=True)
class Made:
    """What a manifest says of a dataset."""

    written: int
    content_digest: str | None

    @classmethod
    def read(cls, dataset: Path) -> "Made":
        manifest = json.loads((dataset / "manifest.json").read_text())
        return cls(manifest["counts"]["written"], manifest.get("content_digest"))


def make(executor: str, processes: int | None, catalog: Path, output: Path) -> None:
    """The job, started in this process."""
    from manylabel.preprocessing.config import PreprocessingConfig
    from manylabel.preprocessing.job import preprocess

    config = PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(catalog)},
            "shards": {"images_per_shard": IMAGES_PER_SHARD},
            "executor": executor,
            "runner": {"processes": processes},
        }
    )
    tell(measure(lambda: preprocess(config, str(output))))


def today(executor: str, processes: int | None, catalog: Path, output: Path) -> Measured:
    """The job in a process of its own."""
    side = [executor, str(processes or ""), str(catalog), str(output)]
    return told_with_children([sys.executable, __file__, "--make", *side])


def earlier(code: Path, processes: int, catalog: Path, output: Path) -> Measured:
    """The job of the earlier commit."""
    script = str(Path(__file__).with_name("_earlier_preprocessing.py"))
    settings = [str(catalog), str(output), str(processes), str(IMAGES_PER_SHARD)]
    command = [sys.executable, script, *settings]
    return told_with_children(command, _earlier_code.environment(code), code)


def all_sides(folder: Path) -> dict[str, Side]:
    """By name."""
    sides: dict[str, Side] = {name: partial(today, *side) for name, side in TODAY.items()}
    code = _earlier_code.take_out(folder)
    if code is not None:
        for processes in (1, 2):
            name = f"commit {_earlier_code.COMMIT}, Beam processes: {processes}"
            sides[name] = partial(earlier, code, processes)
    return sides


def compare(folder: Path, pictures: int, rounds: int) -> float:
    """Measures all sides in turn and prints them; two processes against one."""
    catalog = folder / "labels.csv"
    sides = all_sides(folder)
    measured: dict[str, list[Measured]] = {name: [] for name in sides}
    made: dict[str, Made] = {}
    for round_ in range(rounds):
        for name, side in sides.items():
            measured[name].append(side(catalog, folder / "dataset"))
            made[name] = Made.read(folder / "dataset")
            rmtree(folder / "dataset")
        speeds = ", ".join(f"{name} {pictures / measured[name][-1].seconds:.1f}" for name in sides)
        print(f"round {round_ + 1}: {speeds} pictures/s", flush=True)
    assert {each.written for each in made.values()} == {pictures}, made
    assert len({made[name].content_digest for name in TODAY}) == 1, made
    speeds_of = {}
    for name, found in measured.items():
        middle = median(found)
        speeds_of[name] = pictures / middle.seconds
        print(f"{name}: {speeds_of[name]:.1f} pictures/s, {middle.peak_mib:,.0f} MiB")
    return speeds_of[TWO] / speeds_of[ONE]


def compare_store_step(python: str, folder: Path, rounds: int) -> bool:
    """Prints both sides, on one core; whether the claims hold."""
    files = folder / "files.txt"
    paths = sorted(folder.glob("[0-9]*/*.jpg"))[:STORED]
    files.write_text("\n".join(map(str, paths)))
    compared = paths[: _store_step.COMPARED]
    plain: list[float] = []
    spent: dict[Resampling, list[_store_step.Spent]] = {each: [] for each in Resampling}
    for _ in range(rounds):
        milliseconds, theirs = _store_step.plain(python, files, ImageConfig())
        plain.append(milliseconds)
        for resampling in Resampling:
            spent[resampling].append(_store_step.ours(files, resampling))
    loop = statistics.median(plain)
    print(
        f"OpenCV loop: {loop:.2f} ms, {_store_step.quality(compared, theirs, ImageConfig()):.2f} dB"
    )
    holds = True
    for resampling, measured in spent.items():
        policy = ImageConfig(resampling=resampling)
        stored = [store(path.read_bytes(), policy).encoded for path in compared]
        alike = _store_step.quality(compared, stored, policy)
        storing = statistics.median(each.storing for each in measured)
        checking = statistics.median(each.checking for each in measured)
        claim, ratio = STORE_CLAIMS[resampling], loop / storing
        print(f"{resampling}: {storing:.2f} ms, {alike:.2f} dB; checking {checking:.2f} ms before")
        print(f"  storing {ratio:.2f} times as fast as the loop, expected at least {claim}")
        print(f"  checking and storing {loop / (storing + checking):.2f} times")
        holds &= ratio >= claim
    return holds


def compare_whole_command(python: str, folder: Path, rounds: int) -> None:
    """Prints seconds of both sides, which take turns."""
    seconds: dict[str, list[float]] = {"manylabel preprocess": [], "img2dataset": []}
    with _whole_command.served(folder) as url:
        ours, theirs = _whole_command.write_urls(folder / "labels.csv", url, folder)
        for _ in range(rounds):
            seconds["manylabel preprocess"].append(_whole_command.ours(ours, IMAGES_PER_SHARD))
            seconds["img2dataset"].append(_whole_command.theirs(python, theirs, IMAGES_PER_SHARD))
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    for name, middle in medians.items():
        print(f"{name}, {_whole_command.PROCESSES} processes, from URLs: {middle:.1f} s")
    own, other = medians.values()
    print(f"the whole command: {other / own:.2f} times as fast as img2dataset")


def main() -> None:
    """Prints figures; ends with 1 when a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--img2dataset", metavar="PYTHON", help="of an environment that has it")
    parser.add_argument("--make", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        executor, processes, catalog, output = arguments.make
        make(executor, int(processes) if processes else None, Path(catalog), Path(output))
        return
    holds = True
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        write_photos(folder, arguments.pictures)
        if arguments.img2dataset:
            holds = compare_store_step(arguments.img2dataset, folder, arguments.rounds)
            compare_whole_command(arguments.img2dataset, folder, arguments.rounds)
        else:
            print(
                "left out: OpenCV and img2dataset; python -m venv V && V/bin/pip install "
                "img2dataset==1.47.0, then --img2dataset V/bin/python"
            )
        ratio = compare(folder, arguments.pictures, arguments.rounds)
    print(f"two processes: {ratio:.2f} times as fast as one, expected at least {CLAIM}")
    sys.exit(not holds or ratio < CLAIM)


if __name__ == "__main__":
    main()
