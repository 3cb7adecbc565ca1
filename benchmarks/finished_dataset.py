"""Claim: asking for a dataset that is finished costs little, however many shards it has.

A dataset of 10,000 shards says "nothing to do" within 30 CPU seconds: it looks at the manifest and
at the sizes of the files, not at their bytes. Beside it, what reading every byte costs (--verify),
and as the physical limit a plain loop that asks the system for the size of each file.

    python benchmarks/finished_dataset.py [--shards 10000] [--rounds 3] [--folder FOLDER]

Pictures are small, one to a shard on average, since only the number of files matters here. The
commands are those that users type, in processes of their own, start-up included. Ends with 1 when
the claim does not hold.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if __name__ == "__main__":  # Beside the modules that it imports, wherever it is started from.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from benchmarks._measured import Measured, measure, median

MOST_CPU_SECONDS = 30.0
SETTINGS = """\
preprocessing:
  catalog: {{path: {catalog}}}
  heldout: {{duplicate_distance: null}}
  shards: {{images_per_shard: 1}}
"""


def write_catalog(folder: Path, images: int) -> Path:
    """Pictures of noise, which differ from one another, and settings for them."""
    rng = np.random.default_rng(0)
    pictures = folder / "pictures"
    pictures.mkdir()
    catalog = pictures / "labels.csv"
    with catalog.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("image_path", "label", "confidence"))
        for number in range(images):
            pixels = rng.integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(pictures / f"{number}.jpg")
            rows.writerow((f"{number}.jpg", f"label {number % 100}", 1))
    settings = folder / "settings.yaml"
    settings.write_text(SETTINGS.format(catalog=catalog))
    return settings


def run(settings: Path, dataset: Path, *options: str) -> str:
    """The command's last line."""
    command = [str(Path(sys.executable).with_name("manylabel")), "preprocess", str(settings)]
    arguments = ["--output", str(dataset), *options]
    done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def ask_for_sizes(dataset: Path) -> int:
    """The plain loop."""
    paths = (os.path.join(folder, name) for folder, _, names in os.walk(dataset) for name in names)
    return sum(os.stat(path).st_size for path in paths)


@contextmanager
def folder_of(given: Path | None) -> Iterator[Path]:
    """The folder that is given, or one that is removed."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with folder_of(arguments.folder) as folder:
        settings, dataset = write_catalog(folder, arguments.shards), folder / "dataset"
        made = measure(lambda: run(settings, dataset))
        print(f"made: {made.seconds:.0f} s, {made.cpu_seconds:.0f} CPU s", flush=True)
        asked: list[Measured] = []
        for _ in range(arguments.rounds):
            asked.append(measure(lambda: _expect_nothing_to_do(run(settings, dataset))))
        loop = median([measure(lambda: ask_for_sizes(dataset)) for _ in range(arguments.rounds)])
        verified = measure(lambda: _expect_nothing_to_do(run(settings, dataset, "--verify")))
    finished = median(asked)
    for name, cost in (("asked again", finished), ("verified", verified), ("sizes alone", loop)):
        print(f"{name}: {cost.seconds:.2f} s, {cost.cpu_seconds:.2f} CPU s", flush=True)
    holds = finished.cpu_seconds <= MOST_CPU_SECONDS
    print(
        f"{'holds' if holds else 'DOES NOT HOLD'}: {finished.cpu_seconds:.1f} CPU s for "
        f"{arguments.shards:,} shards, expected at most {MOST_CPU_SECONDS:.0f}"
    )
    return 0 if holds else 1


def _expect_nothing_to_do(line: str) -> None:
    assert line.startswith("nothing to do"), line


if __name__ == "__main__":
    sys.exit(main())
