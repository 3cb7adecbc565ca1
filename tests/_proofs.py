"""Runs what takes a browser, root, other programs or hours, one by one; nothing is skipped.

    make proofs                      # all; some two hours on two cores
    make proofs ONLY="image kills"   # these
    python -m tests._proofs --list   # their names

Each has a heading and its seconds. One that fails, or for which something is missing, does not keep
the others from running; the last lines name those, and the exit code is 1.
"""

import argparse
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.integration._preprocessing_kills import make_catalog
from tests.integration.nodes._ray_nodes import cannot

REPOSITORY = Path(__file__).resolve().parent.parent
DATASET = "{dataset}"  # stands for a small dataset that is made for those that train
PICTURES = 400
# Where tests skip themselves if something is missing.
SKIPPING = (
    "tests/browser",
    "tests/deploy/docker",
    "tests/deploy/kubernetes",
    "tests/integration/nodes",
)


@dataclass(frozen=True)
class Proof:
    """A command, run in the repository by the interpreter that runs this.

    Attributes:
        name: What ONLY names it by.
        subject: What it shows, for the heading.
        command: Arguments of Python.
        missing: Says what it lacks here; None if nothing.
    """

    name: str
    subject: str
    command: tuple[str, ...]
    missing: Callable[[], str | None] = lambda: None


def _no_image_builder() -> str | None:
    if os.geteuid() != 0:
        return "images are built by root"
    absent = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    return f"needs {' and '.join(absent)} (apt-get install {' '.join(absent)})" if absent else None


def _no_mounts() -> str | None:
    return None if os.geteuid() == 0 else "small disks are mounted by root"


NODES = "tests.integration.nodes"
PROOFS = (
    Proof(
        "skipped",
        "tests that need a browser, root, git, kubectl or KubeRay's definitions",
        ("-m", "pytest", "-p", "tests._no_skips", *SKIPPING),
    ),
    Proof(
        "lengthy",
        "tests that take minutes",
        ("-m", "pytest", "-p", "tests._no_skips", "-m", "lengthy"),
    ),
    Proof(
        "image",
        "the image is built, and runs as a cluster would run it",
        ("tests/deploy/docker/_image_proof.py",),
        _no_image_builder,
    ),
    Proof(
        "fuzzing",
        "20,000 damaged and odd files are refused in a line, or read within bounds",
        ("-m", "tests.fuzz._many", "--cases", "20000"),
    ),
    Proof(
        "preprocessing-kills",
        "preprocessing whose processes are killed makes the same bytes",
        ("-m", "tests.integration._preprocessing_kills"),
    ),
    Proof(
        "interruptions",
        "commands that are told to stop say one line, and go on when they are given again",
        ("-m", "tests.integration._interruptions"),
    ),
    Proof(
        "ends-well",
        "hundreds of commands end well on a busy machine",
        ("-m", "tests.integration._ends_well"),
    ),
    Proof(
        "full-disks",
        "every command that writes ends in one line where its disk is full, and goes on with room",
        ("-m", "tests.integration._full_disks"),
        _no_mounts,
    ),
    Proof(
        "preprocessing-node-kills",
        "preprocessing that loses nodes of a cluster makes the same bytes",
        ("-m", f"{NODES}._preprocessing_node_kills"),
        cannot,
    ),
    Proof(
        "training-kills",
        "a submitted training whose parts are killed counts each record once an epoch",
        ("-m", f"{NODES}._training_kills", DATASET, "30"),
        cannot,
    ),
    Proof(
        "training-recovery",
        "how soon a training on three nodes goes on without a part",
        ("-m", f"{NODES}._training_recovery", DATASET),
        cannot,
    ),
)


def make_dataset(folder: Path) -> Path:
    """A dataset of some hundred of our pictures.

    Raises:
        subprocess.CalledProcessError: it could not be made.
    """
    make_catalog(folder, PICTURES)
    settings = {
        "preprocessing.images.short_side_limit": 48,
        "preprocessing.labels.minimum_count": 3,
        "preprocessing.shards.images_per_shard": 80,
    }
    command = [sys.executable, "-m", "manylabel", "preprocess", "demo"]
    command += ["--catalog", str(folder / "labels.csv"), "--output", str(folder / "dataset")]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    subprocess.run(command, check=True, cwd=REPOSITORY)
    return folder / "dataset"


def run_proofs(proofs: Sequence[Proof], dataset: Callable[[], Path]) -> dict[str, str]:
    """Runs them all; why each failed that did, by name.

    Args:
        dataset: Makes or finds the one that stands for DATASET.
    """
    failed = {}
    for proof in proofs:
        print(f"== {proof.name}: {proof.subject}", flush=True)
        began = time.monotonic()
        why = proof.missing() or _why_it_failed(proof, dataset)
        if why:
            failed[proof.name] = why
        outcome = f"failed: {why}" if why else "passed"
        print(f"== {proof.name}: {outcome}, {time.monotonic() - began:.0f} s", flush=True)
    return failed


def _why_it_failed(proof: Proof, dataset: Callable[[], Path]) -> str | None:
    try:
        command = [str(dataset()) if part == DATASET else part for part in proof.command]
    except subprocess.CalledProcessError as error:
        return f"no dataset to train on: exit code {error.returncode}"
    code = subprocess.run([sys.executable, *command], cwd=REPOSITORY, check=False).returncode
    return f"exit code {code}" if code else None


def main() -> None:
    """Ends with 1 where one failed."""
    parser = argparse.ArgumentParser(description="Proofs that are not part of make test.")
    names = [proof.name for proof in PROOFS]
    # Python 3.11 holds the empty list, which stands for no names at all, against the choices too.
    parser.add_argument("names", nargs="*", choices=[*names, []], metavar="NAME", help="these only")
    parser.add_argument("--list", action="store_true", help="print names and what they show")
    arguments = parser.parse_args()
    chosen = [proof for proof in PROOFS if not arguments.names or proof.name in arguments.names]
    if arguments.list:
        print("\n".join(f"{proof.name:<25} {proof.subject}" for proof in chosen))
        sys.exit()
    with tempfile.TemporaryDirectory(prefix="manylabel-proofs-") as folder:
        failed = run_proofs(chosen, functools.cache(lambda: make_dataset(Path(folder))))
    for name, why in failed.items():
        print(f"error: {name}: {why}", file=sys.stderr)
    print(f"{len(chosen) - len(failed)} of {len(chosen)} proofs passed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
