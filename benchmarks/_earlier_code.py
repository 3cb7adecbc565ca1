"""The code of an earlier commit beside today's, in processes of its own.

Commit db3c898 is the last one whose packages had no common name: what it calls `preprocessing` is
`manylabel.preprocessing` today, so that neither takes the place of the other.
"""

import os
import subprocess
import tarfile
from pathlib import Path

COMMIT = "db3c898"
_CHECKOUT = Path(__file__).resolve().parent.parent


def take_out(folder: Path) -> Path | None:
    """Where the package `preprocessing` of COMMIT lies now; None, and a line, where a clone lacks
    that commit."""
    archive = folder / "earlier.tar"
    git = ["git", "-C", str(_CHECKOUT), "archive", f"--output={archive}", COMMIT, "preprocessing"]
    if subprocess.run(git, check=False, capture_output=True).returncode:
        print(f"not compared: this clone lacks commit {COMMIT}; git fetch --unshallow brings it")
        return None
    earlier = folder / "earlier"
    with tarfile.open(archive) as file:
        file.extractall(earlier, filter="data")
    archive.unlink()
    return earlier


def environment(earlier: Path) -> dict[str, str]:
    """For a process, in the folder `earlier`, that is to find the earlier package, and our
    benchmarks behind it."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(earlier), str(_CHECKOUT)])}
