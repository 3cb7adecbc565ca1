"""What real processes made of pictures that the project ships: a dataset, a model; a current folder
that nothing may be imported from; who listens to the network."""

import csv
import ipaddress
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.storage.dataset import Dataset
from tests.integration._processes import descendants as processes_below

IMAGES = 320


@pytest.fixture(scope="session")
def clipart_dataset(openclipart: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Some 300 pictures with their labels, in a few shards."""
    folder = tmp_path_factory.mktemp("clipart")
    with (openclipart / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    paths = sorted({row["image_path"] for row in rows})
    chosen = set(paths[:: len(paths) // IMAGES])
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if row["image_path"] in chosen)
    config = PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(folder / "labels.csv"), "image_root": str(openclipart)},
            "images": {"short_side_limit": 48},
            "labels": {"minimum_count": 3},
            "heldout": {"size": 0.2},
            "shards": {"images_per_shard": 80},
        }
    )
    preprocess(config, str(folder / "dataset"))
    return Dataset.open(folder / "dataset")


@pytest.fixture(scope="module", autouse=True)
def current_folder(hostile_folder: Path) -> Iterator[None]:
    """Every test here runs where users keep a `trainer.py` or a `random.py` of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(hostile_folder)
        yield
    executed = hostile_folder / "executed.txt"
    assert not executed.exists(), executed.read_text()


@pytest.fixture(scope="session")
def exported_demo(
    small_demo, manylabel: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The demo's model, exported by a command that nobody reads."""
    model = tmp_path_factory.mktemp("exported") / "model"
    reading, closed = os.pipe()
    os.close(reading)
    with open(closed, "wb") as nobody_reads:
        run = str(small_demo.output / "run")
        manylabel("export", run, "--output", str(model), stdout=nobody_reads)
    return model


class Listener(NamedTuple):
    """A TCP socket that waits for connections, and the process that has it."""

    process: int
    command: str
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int


@pytest.fixture(scope="session")
def listeners() -> Callable[[], set[Listener]]:
    """listeners(): those of this process and of all that it started, directly or not."""
    return _listeners


@pytest.fixture(scope="session")
def descendants() -> Callable[[int], list[int]]:
    """descendants(process): the ids of the processes that it started, directly or not."""
    return processes_below


def _listeners() -> set[Listener]:
    owners = {}
    for process in [os.getpid(), *processes_below(os.getpid())]:
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                owners[os.readlink(descriptor)] = process, command.strip()
        except OSError:
            continue  # the process ended, or closed the file, while it was looked at
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            owner = owners.get(f"socket:[{inode}]")
            if state == "0A" and owner is not None:
                address, port = local.split(":")
                found.add(Listener(*owner, _address(address), int(port, 16)))
    return found


def _address(digits: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """From the kernel's words of 32 bits, each in the machine's order of bytes."""
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    address = ipaddress.ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))
    return getattr(address, "ipv4_mapped", None) or address
