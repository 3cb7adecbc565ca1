"""`manylabel preprocess` and img2dataset, each as a whole command, on the same URLs."""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

import yaml

from manylabel.storage.image_policy import ImageConfig

PROCESSES = 2
_COMMAND = "import sys; from manylabel.pipeline.cli import run; sys.exit(run(sys.argv[1:]))"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The pictures below a folder, at this URL on the loopback interface."""
    script = str(Path(__file__).with_name("_picture_server.py"))
    with subprocess.Popen(
        [sys.executable, script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.stdin.close()


def write_urls(catalog: Path, url: str, folder: Path) -> tuple[Path, Path]:
    """The catalog with URLs for paths, and the URLs alone, a line each."""
    ours, theirs = folder / "urls.csv", folder / "urls.txt"
    with catalog.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    with ours.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *([f"{url}/{row[0]}", *row[1:]] for row in rows)])
    theirs.write_text("\n".join(dict.fromkeys(f"{url}/{row[0]}" for row in rows)))
    return ours, theirs


def ours(urls: Path, images_per_shard: int) -> float:
    """Seconds."""
    output, settings = urls.with_name("dataset"), urls.with_name("settings.yaml")
    section = {
        "catalog": {"http": {"allowed_networks": ["127.0.0.0/8"]}},
        "shards": {"images_per_shard": images_per_shard},
        "runner": {"processes": PROCESSES},
    }
    settings.write_text(yaml.safe_dump({"preprocessing": section}))
    arguments = ["preprocess", str(settings), "--catalog", str(urls), "--output", str(output)]
    return _seconds([sys.executable, "-c", _COMMAND, *arguments], output)


def theirs(python: str, urls: Path, images_per_shard: int) -> float:
    """Seconds."""
    output, policy = urls.with_name("img2dataset"), ImageConfig()
    numbers = (policy.short_side_limit, policy.jpeg_quality, PROCESSES, images_per_shard)
    script = str(Path(__file__).with_name("_img2dataset.py"))
    return _seconds([python, script, str(urls), str(output), *map(str, numbers)], output)


def _seconds(command: list[str], output: Path) -> float:
    began = time.monotonic()
    # Else its libraries ask the network for newer ones.
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
    subprocess.run(command, env=environment, capture_output=True, check=True)
    seconds = time.monotonic() - began
    rmtree(output)
    return seconds
