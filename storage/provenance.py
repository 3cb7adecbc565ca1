"""Which code made a file."""

import importlib.metadata
import subprocess
from functools import cache
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parent.parent


@cache
def code_version(checkout: Path = _CHECKOUT) -> str:
    """The code that runs, for what it makes to name: "0.1.0", and in a git checkout its commit as
    well: "0.1.0+1a2b3c4", with "-dirty" behind it where tracked files differ from the commit.

    Where git is missing or may not read the checkout, it is the version alone.
    """
    version = importlib.metadata.version("manylabel")
    if not (checkout / ".git").exists():  # git would look for one further up
        return version
    describe = ["describe", "--always", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(checkout), *describe],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return version  # less exact, and no reason to fail
    return f"{version}+{done.stdout.strip()}"
