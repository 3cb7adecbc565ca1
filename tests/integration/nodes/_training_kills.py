"""Kills parts of a submitted training on three nodes, again and again, until it is done.

    python -m tests.integration.nodes._training_kills DATASET EPOCHS [ROUNDS]

Run by hand, as root. Each round kills a worker, a parameter shard, the coordinator, and a node that
is not the head; the supervisor tries again by itself. For each, a line says how long it was from
the kill to the next update that was applied. At the end each record was counted once an epoch.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from manylabel.storage.dataset import Dataset
from manylabel.storage.jobs import COMMAND_LOG, JobStage, logs_path
from manylabel.storage.schema import SplitName
from manylabel.trainer.records.ledger import Settlement
from manylabel.trainer.runs.metrics_log import read_metrics
from tests.integration.nodes._ray_nodes import RayNodes
from tests.integration.nodes._submitter import Place, Running, Submitter, settings_file, wait_until

KINDS = ("worker", "shard", "coordinator", "node")
NETWORK = 5
RETRIES = 100
AWAY = 2  # first node that is not the head


def main(dataset: Path, epochs: int, rounds: int) -> None:
    """Prints a line a kill."""
    folder = Path(f"/tmp/mlt{NETWORK}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with RayNodes(folder, network=NETWORK) as nodes:
        submitter = Submitter(nodes, folder)
        run = folder / "runs" / "killed"
        settings = settings_file(folder / "settings.yaml", epochs=epochs, workers=3, shards=2)
        following = submitter.start(
            *("submit", "train", str(settings), "--dataset", str(dataset), "--run", str(run)),
            *(*submitter.address, "--follow", "--retry", str(RETRIES)),
        )
        place = Place(run, JobStage.TRAIN)
        place.wait_for_checkpoint()
        for _ in range(rounds):
            for kind in KINDS:
                _kill(submitter, place, following, kind)
        print(f"exit code {following.end()}")
        total = epochs * Dataset.open(dataset).records(SplitName.TRAIN)
        ledger = place.ledger
        assert (ledger.next_position, ledger.undone) == (total, ()), ledger
        assert ledger.settled[Settlement.APPLIED] == total, ledger
        for attempt in place.attempts:
            print(f"{attempt.number} {attempt.state} {attempt.exit_code} {attempt.reason}")
        print(f"{total:,} records, each counted once an epoch, in {len(place.attempts)} attempts")


def _kill(submitter: Submitter, place: Place, following: Running, kind: str) -> None:
    assert following.process.poll() is None, following.printed
    attempts, saved = len(place.attempts), place.checkpoints[-1]
    before = _said(place)
    if kind == "node":
        node = random.choice(range(AWAY, submitter.nodes.count + 1))
        submitter.nodes.kill(node)
    else:
        node, process = random.choice(submitter.processes(kind))
        os.kill(process, signal.SIGKILL)
    began = time.monotonic()
    told = 0.0
    updates: list[int] = []

    def goes_on() -> bool:
        nonlocal told
        said = _said(place).removeprefix(before)
        if not told and ("died" in said or "lost" in said):
            told = time.monotonic() - began
        if following.process.poll() is not None:
            return True
        if len(place.attempts) == attempts and "died" not in said:
            return False
        rows = read_metrics(place.path)
        updates.append(rows[-1].step if rows else 0)
        return updates[-1] > min(updates)

    wait_until(goes_on, following)
    seconds = time.monotonic() - began
    again = len(place.attempts) - attempts
    print(
        f"{kind:<12} on node {node}: told after {told:4.1f} s, next update after {seconds:4.1f} s, "
        f"{again} new attempts, step {saved} was saved",
        flush=True,
    )
    if kind == "node":
        submitter.nodes.start(node)
    place.wait_for_checkpoint(place.checkpoints[-1])


def _said(place: Place) -> str:
    """What the command has printed, in all attempts; the follower asks for it but now and then."""
    logs = (
        logs_path(place.path, place.stage, attempt.number) / COMMAND_LOG
        for attempt in place.attempts
    )
    return "".join(log.read_text() for log in logs if log.exists())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
