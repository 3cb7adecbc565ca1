"""Real commands that are told to stop while libraries are imported, before a stage handles that.

Each kills itself at the moment that it asks for a module: no clock decides.
"""

import subprocess
import sys

import pytest

from manylabel.storage.stop_signals import STOP_SIGNALS

_SCRIPT = """
import os, sys
from manylabel.pipeline.cli import main

class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Strike())
main()
"""


def stopped(module, number, *arguments, **streams):
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(module=module, number=int(number)), *arguments],
        capture_output=True,
        text=True,
        check=False,
        **streams,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_while_the_commands_are_loaded(number, tmp_path):
    code, shown, told = stopped("typer", number, "runs", str(tmp_path))
    assert (code, shown) == (130, "")
    assert told == "stopped; the same command begins again, or goes on from what is saved\n"


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("pyarrow", ["runs", "."]), ("yaml", ["preprocess", "demo", "--output", "dataset"])],
)
def test_while_a_command_loads_what_it_needs(module, arguments, tmp_path):
    """An import may take what a signal raises for a library that is not there, and go on."""
    code, shown, told = stopped(module, STOP_SIGNALS[1], *arguments, cwd=tmp_path)
    assert (code, shown) == (130, "")
    assert told.startswith("stopped; ")
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
