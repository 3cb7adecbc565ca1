"""What real processes made of pictures that the project ships: a dataset, a whole demo, a model; a
folder that nothing may be imported from; who listens to the network."""

import csv
import ipaddress
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.storage.dataset import Dataset

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = 320
DEMO_FOLDERS = ("animals", "food")
DEMO_PICTURES = 64
EXECUTED = "executed.txt"


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


@pytest.fixture(scope="session")
def hostile_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module of each name that Python, our dependencies or we import; none may be
    executed."""
    folder = tmp_path_factory.mktemp("hostile")
    ours = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}
    assert {"trainer", "eval", "preprocessing", "pipeline", "deploy", "storage"} <= ours
    for name in {"manylabel", *ours, *sys.stdlib_module_names, *packages_distributions()}:
        (folder / f"{name}.py").write_text(
            f"open({str(folder / EXECUTED)!r}, 'a').write(__file__ + chr(10))\n"
            "raise ImportError(f'{__file__} was executed')\n"
        )
    return folder


@pytest.fixture(scope="module", autouse=True)
def current_folder(hostile_folder: Path) -> Iterator[None]:
    """Every test here runs where users keep a `trainer.py` or a `random.py` of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(hostile_folder)
        yield
    executed = hostile_folder / EXECUTED
    assert not executed.exists(), executed.read_text()


@dataclass(frozen=True)
class Demo:
    """Arguments of the command, what it printed, and its output directory."""

    arguments: list[str]
    printed: str
    output: Path


@pytest.fixture(scope="session")
def manylabel() -> Callable[..., str]:
    """manylabel("train", ...): runs a command that succeeds in silence; what it printed."""
    return _manylabel


def _manylabel(*arguments: str, stdout: int | IO[bytes] = subprocess.PIPE) -> str:
    command = [str(Path(sys.executable).with_name("manylabel")), *arguments]
    # The level of TensorFlow's log is the command's to set.
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        command, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="session")
def small_demo(
    openclipart: Path, manylabel: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Demo:
    """A demo on a few pictures that is over."""
    directory = tmp_path_factory.mktemp("demo")
    catalog, output = directory / "labels.csv", directory / "output"
    with (openclipart / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            row for row in csv.DictReader(file) if row["image_path"].split("/")[1] in DEMO_FOLDERS
        ]
    chosen = sorted({row["image_path"] for row in rows})[:: 1 + len(rows) // 400][:DEMO_PICTURES]
    with catalog.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if row["image_path"] in chosen)
    settings = {
        "preprocessing.catalog.path": catalog,
        "preprocessing.catalog.image_root": openclipart,
        "preprocessing.labels.minimum_count": 2,
        "preprocessing.heldout.size": 0.4,  # So that there are the 20 that the export test wants.
        "preprocessing.shards.images_per_shard": 16,
        "trainer.model.input_size": 32,
        "trainer.model.width": 0.125,
        "trainer.model.middle_repeats": 0,
        "trainer.input.batch_size": 8,
        "trainer.input.shuffle_block": 4,
        "trainer.epochs": 2,
        "trainer.checkpoints.every_samples": 48,
    }
    arguments = ["demo", "--output", str(output)]
    arguments += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return Demo(arguments, manylabel(*arguments), output)


@pytest.fixture(scope="session")
def exported_demo(
    small_demo: Demo, manylabel: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
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
    return _descendants


def _listeners() -> set[Listener]:
    owners = {}
    for process in [os.getpid(), *_descendants(os.getpid())]:
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


def _descendants(parent: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the listing and the reading
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found = []
    waiting = [parent]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
