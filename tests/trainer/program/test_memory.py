"""What a process frees stays its own, unless the user wants it otherwise."""

import os
import subprocess
import sys

import pytest

from manylabel.trainer.program.memory import malloc_environment

pytestmark = pytest.mark.slow

# By default glibc takes blocks of 100 MB from the kernel anew each time.
FAULTS = """
import resource, threading

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        b"x" * (100 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(1)
print(faults(3))
thread = threading.Thread(target=lambda: print(faults(3)))
thread.start()
thread.join()
"""
KEEP = "from manylabel.trainer.program.memory import keep_freed_memory; keep_freed_memory()\n"
# It is the first thing that a predictor does.
PREDICT = """
from pathlib import Path
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.predict import Predictor
try:
    Predictor(Path("no run"), None, k=1)
except TrainingError:
    pass
"""


def page_faults(script, **environment):
    """Of three rounds in the main thread, and in another."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(line) for line in done.stdout.split()]


@pytest.fixture(autouse=True)
def _nothing_set_by_the_user(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)


def test_by_default_memory_goes_back_to_the_kernel():
    assert min(page_faults(FAULTS)) > 3 * 25_000, "else the settings have lost their reason"


def test_a_process_started_with_the_environment_keeps_its_memory():
    assert max(page_faults(FAULTS, **malloc_environment())) < 1_000


@pytest.mark.parametrize("begin", [KEEP, PREDICT], ids=["told to", "predicts"])
def test_a_running_process_keeps_its_memory(begin):
    assert max(page_faults(begin + FAULTS)) < 1_000


USERS = [
    {"MALLOC_MMAP_MAX_": "65536"},
    {"GLIBC_TUNABLES": "glibc.malloc.check=0:glibc.malloc.mmap_max=65536"},
]


@pytest.mark.parametrize("users", USERS)
def test_what_the_user_has_set_wins(users, monkeypatch):
    assert min(page_faults(KEEP + FAULTS, **users)) > 3 * 25_000
    for name, value in users.items():
        monkeypatch.setenv(name, value)
    assert "MALLOC_MMAP_MAX_" not in malloc_environment()
    assert malloc_environment()["MALLOC_ARENA_MAX"] == "1", "what is not set stays ours"
    assert min(page_faults(FAULTS, **malloc_environment())) > 3 * 25_000
