"""Commands that are told to stop, at many moments.

    python -m tests.integration._interruptions [--moments 6] [--only preprocess,train] [--seed 0]

Each command is done once undisturbed, which says how long it takes, and then told to stop at as
many moments, spread from its first quarter of a second to its end, by each of the signals in turn.
A command that is stopped says one line, ends with exit code 130, leaves no process behind, and is
done by the same command afterwards. Prints a line for each; about 15 minutes on two idle cores.
Exit code 1 if one of them was not so.

The beginning is the interpreter's: until it has loaded `manylabel.pipeline.cli`, in 0.1 s on an
idle machine, a signal does what it does to any Python program.
"""

import argparse
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from manylabel.storage.stop_signals import STOP_SIGNALS
from tests.integration._preprocessing_kills import make_catalog
from tests.integration._processes import command_of

LONGEST = 240.0
LISTENING = 0.25  # seconds after the start, on a busy machine
_LEFT = 5.0  # seconds in which processes that were told so end
_SMALL = {
    "preprocessing.labels.minimum_count": 1,
    "preprocessing.heldout.size": 0.3,
    "trainer.model.input_size": 32,
    "trainer.model.width": 0.125,
    "trainer.model.middle_repeats": 0,
    "trainer.topology.workers": 1,
    "trainer.topology.parameter_shards": 1,
    "trainer.input.batch_size": 8,
    "trainer.epochs": 2,
}
_SETS = [part for key, value in _SMALL.items() for part in ("--set", f"{key}={value}")]


@dataclass(frozen=True)
class Command:
    """A command, and what makes its place as it was before.

    Attributes:
        makes: what it makes, removed before each time; None for one that makes nothing.
    """

    name: str
    arguments: Sequence[str]
    makes: Path | None = None


def commands(folder: Path) -> list[Command]:
    """In the order of the work: each finds what those before it have made."""
    catalog = ["--catalog", str(folder / "labels.csv")]
    dataset, run, model = folder / "dataset", folder / "runs" / "run", folder / "model"
    runs = folder / "runs"
    found, predictions = folder / "found.csv", run / "evals" / "00000000" / "predictions.parquet"

    def made(name: str, *arguments: object, makes: Path | None = None) -> Command:
        return Command(name, [name, *map(str, arguments)], makes)

    preprocess = ["demo", *catalog, *_SETS, "--output", dataset, "--set"]
    return [
        made("preprocess", *preprocess, "preprocessing.executor=inline", makes=dataset),
        made("preprocess", *preprocess, "preprocessing.executor=processes", makes=dataset),
        made("preprocess", *preprocess, "preprocessing.executor=ray", makes=dataset),
        made("train", "demo", "--dataset", dataset, "--run", run, *_SETS, makes=run),
        made("evaluate", run, "--step", "all", makes=run / "evals"),
        made("promote", run, "--step", 0, "--reason", "first", makes=runs / "promotions"),
        made("review", run, 0, "--against", "run@0", makes=runs / "reviews"),
        made("export", runs, "--output", model, makes=model),
        made("predict", model, folder, "--output", found, makes=found),
        made("score", predictions, "--dataset", dataset),
        made("runs", runs),
        made("status", run),
        made("networks", "--classes", 10),
    ]


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """In a session of its own, by which its processes are found."""
    return subprocess.Popen(
        [sys.executable, "-m", "manylabel", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def session_of(leader: int) -> list[int]:
    """Processes of a session that are not over."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found.append(int(status.parent.name))
    return found


def left_behind(leader: int) -> list[str]:
    """Commands of processes that have not ended a while after it."""
    deadline = time.monotonic() + _LEFT
    while (found := session_of(leader)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [command_of(process)[:80] for process in found]


def clear(command: Command) -> None:
    """What it makes."""
    if command.makes is not None and command.makes.is_dir():
        shutil.rmtree(command.makes)
    elif command.makes is not None:
        command.makes.unlink(missing_ok=True)


def undisturbed(command: Command) -> float:
    """How long it takes.

    Raises:
        RuntimeError: it does not end well.
    """
    clear(command)
    began = time.monotonic()
    process = start(command.arguments)
    _, said = process.communicate(timeout=LONGEST)
    if process.returncode:
        raise RuntimeError(f"{command.name}: exit code {process.returncode}: {said}")
    return time.monotonic() - began


def strike(command: Command, moment: float, number: signal.Signals) -> str:
    """What became of a command that was told to stop; begins with "!" if that is not as it should
    be."""
    clear(command)
    process = start(command.arguments)
    time.sleep(moment)
    process.send_signal(number)
    _, said = process.communicate(timeout=LONGEST)
    lines = said.strip().splitlines()
    told = f"{number.name} after {moment:.1f} s: exit code {process.returncode}, {lines}"
    if left := left_behind(process.pid):
        return f"! {told}; left behind: {left}"
    if process.returncode == 0 and not lines:
        return f"{told}; it was done"
    if process.returncode != 130 or len(lines) != 1 or not lines[0].startswith("stopped"):
        return f"! {told}"
    again = start(command.arguments)
    _, said = again.communicate(timeout=LONGEST)
    if again.returncode and "is the champion already" not in said:
        return f"! {told}; again: exit code {again.returncode}, {said.strip()}"
    return told


def disturb(command: Command, moments: int, signals: Iterator[signal.Signals]) -> Iterator[str]:
    """A line for each moment."""
    seconds = undisturbed(command)
    yield f"{command.name}: {seconds:.1f} s undisturbed"
    longest = max(seconds, LISTENING + 0.1)
    for place in range(moments):
        share = (place + random.random()) / moments
        moment = LISTENING + share * (longest - LISTENING)
        yield f"{command.name}: {strike(command, moment, next(signals))}"


def main() -> None:
    """The recorded run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=6)
    parser.add_argument("--only", default="", help="Names of commands; others are done once.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="Kept, and gone on from; else a new one.")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    only = arguments.only.split(",") if arguments.only else None
    signals = itertools.cycle(STOP_SIGNALS)
    bad = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "labels.csv").exists():
            folder.mkdir(parents=True, exist_ok=True)
            make_catalog(folder, pictures=40)
        os.environ["RAY_TMPDIR"] = temporary
        for command in commands(folder):
            if only is not None and command.name not in only:
                if command.makes is not None and not command.makes.exists():
                    undisturbed(command)
                continue
            for line in disturb(command, arguments.moments, signals):
                bad += " ! " in line
                print(line, flush=True)
    print(f"{bad} were not as they should be")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
