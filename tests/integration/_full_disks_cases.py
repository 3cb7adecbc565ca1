"""The commands of `_full_disks`, and what they read."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.integration._preprocessing_kills import contents, make_catalog
from tests.integration._small_disks import Used

_PICTURES = 300
_SETTINGS = {
    "preprocessing.labels.minimum_count": 2,
    "preprocessing.heldout.size": 0.4,
    "preprocessing.shards.images_per_shard": 16,
    "preprocessing.executor": "inline",
    "trainer.model.input_size": 32,
    "trainer.model.width": 0.125,
    "trainer.model.middle_repeats": 0,
    "trainer.input.batch_size": 8,
    "trainer.input.shuffle_block": 4,
    "trainer.epochs": 1,
    "trainer.checkpoints.every_samples": 48,
}
_VARYING = re.compile(r"[0-9a-f]{16,}|events\.out\.tfevents\..*")
"""Of names of files: digests, and moments."""


def _nothing(inputs: Path) -> object:
    return None


@dataclass(frozen=True)
class Case:
    """A command; it runs in the folder of the inputs, in which `disk` is the small disk.

    Attributes:
        copied: of the inputs, what lies on the disk at first.
        result: what must come out, of the folder of the inputs.
        environment: in addition.
        place: what must be named.
        takes: on the disk, where that is not to be seen when the command has ended.
        without: ways that say nothing here.
    """

    name: str
    arguments: list[str]
    copied: Sequence[str] = ()
    result: Callable[[Path], object] = _nothing
    environment: dict[str, str] = field(default_factory=dict)
    place: str = "disk"
    takes: Used | None = None
    without: Collection[str] = ()


def names(inputs: Path) -> list[str]:
    """Of all files on the disk, but for what is told of jobs, and locks."""
    disk = inputs / "disk"
    found = {
        _VARYING.sub("*", str(path.relative_to(disk)))
        for path in disk.rglob("*")
        if path.is_file() and path.name not in {".lock", "lock"} and "jobs" not in path.parts
    }
    return sorted(found)


def steps(inputs: Path) -> list[str]:
    """Of the checkpoints of a training."""
    (folder,) = inputs.glob("*/trained/checkpoints")
    return sorted(path.name for path in folder.iterdir())


def datasets(inputs: Path) -> dict[str, str]:
    """Digests of the files of a dataset on the disk."""
    return contents(inputs / "disk" / "dataset")


def cases(inputs: Path) -> Iterator[Case]:
    """All, in the order of the work."""
    for executor in ("inline", "processes", "ray"):
        arguments = ["preprocess", "demo", "--output", "disk/dataset", *settings(inputs)]
        arguments += ["--set", f"preprocessing.executor={executor}"]
        yield Case(f"preprocess-{executor}", arguments, result=datasets)
    arguments = ["preprocess", "demo", "--output", "disk/dataset", *settings(inputs, "urls.csv")]
    networks = 'preprocessing.catalog.http={"allowed_networks": ["127.0.0.0/8"]}'
    arguments += ["--set", "preprocessing.executor=processes", "--set", networks]
    yield Case("preprocess-urls", arguments, result=datasets)
    scratch = ["--set", f"preprocessing.runner.scratch={inputs / 'disk'}"]
    yield Case(
        "preprocess-scratch",
        ["preprocess", "demo", "--output", "elsewhere/d", *settings(inputs), *scratch],
        takes=Used(2**16, 1),
        without=("inodes",),
    )
    yield Case("repair", ["dataset", "verify", "disk/damaged", "--repair"], ["damaged"], names)
    train = ["train", "demo", "--dataset", "dataset", *settings(inputs), "--run"]
    yield Case("train", [*train, "disk/trained"], result=steps)
    yield Case(
        "train-temporary",
        [*train, "elsewhere/trained"],
        result=steps,
        environment={"TMPDIR": str(inputs / "disk")},
        takes=Used(2**24, 2000),
        without=("inodes", "writing"),  # Then Python takes another place.
    )
    yield Case("evaluate", ["evaluate", "disk/new/a", "--step", "all"], ["new"], names)
    score = ["score", "predictions.parquet", "--dataset", "dataset"]
    yield Case("score", [*score, "--run", "disk/other", "--step", "1"], result=names)
    review = ["12", "--against", "a@0"]
    yield Case("review", ["review", "disk/runs/a", *review], ["runs"], names)
    report = ["--output", "disk/review.html"]
    yield Case("review-output", ["review", "runs/a", *review, *report], result=names)
    promote = ["--step", "12", "--reason", "good"]
    yield Case("promote", ["promote", "disk/runs/a", *promote], ["runs"], names)
    yield Case("schedule", ["schedule", "run-due", "disk/due"], ["due"], names)
    yield Case("export", ["export", "runs/a", "--output", "disk/model"], result=names)
    for kind in ("parquet", "csv"):
        output = f"disk/labels.{kind}"
        yield Case(f"predict-{kind}", ["predict", "runs/a", "cat", "--output", output], [], names)


def settings(inputs: Path, labels: str = "labels.csv") -> list[str]:
    """Of small jobs, as arguments."""
    catalog = {"preprocessing.catalog.path": inputs / "cat" / labels}
    return [
        part for key, value in (catalog | _SETTINGS).items() for part in ("--set", f"{key}={value}")
    ]


def make_inputs(inputs: Path) -> None:
    """A catalog, its dataset, that one damaged, runs with and without evaluations, predictions."""
    if (inputs / "predictions.parquet").exists():
        return
    (inputs / "cat").mkdir(parents=True)
    make_catalog(inputs / "cat", _PICTURES)
    _manylabel(inputs, "preprocess", "demo", "--output", "dataset", *settings(inputs))
    _manylabel(inputs, "train", "demo", "--dataset", "dataset", "--run", "new/a", *settings(inputs))
    for copy in ("runs", "due"):
        shutil.copytree(inputs / "new", inputs / copy)
    schedule = "schedules:\n  every:\n    when: new_checkpoint\n    retries: 0\n"
    (inputs / "due" / "schedules.yaml").write_text(schedule)
    _manylabel(inputs, "evaluate", "runs/a", "--step", "all")
    shutil.copytree(inputs / "dataset", inputs / "damaged")
    for shard in sorted((inputs / "damaged" / "train").glob("*.tfrecord"))[:3]:
        shard.write_bytes(shard.read_bytes()[:-100])
    predictions = inputs / "runs" / "a" / "evals" / "00000012" / "predictions.parquet"
    shutil.copyfile(predictions, inputs / "predictions.parquet")


@contextmanager
def serving(inputs: Path) -> Iterator[None]:
    """The pictures by URL, which `urls.csv` lists."""
    folder = inputs / "cat"
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        header, *rows = (folder / "labels.csv").read_text("utf-8").splitlines(keepends=True)
        begin = f"http://127.0.0.1:{server.server_port}/"
        text = header + "".join(begin + row for row in rows)
        (folder / "urls.csv").write_text(text, "utf-8")
        yield
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _manylabel(inputs: Path, *arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("manylabel")), *arguments]
    subprocess.run(command, cwd=inputs, check=True, stdout=subprocess.DEVNULL)
