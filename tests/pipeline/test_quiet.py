"""Chatter goes, errors stay: in a process of its own, since both are set once for a process."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def stderr_of(script):
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()


def test_imports_lose_their_chatter_and_keep_their_errors():
    script = (
        "import os\n"
        "from manylabel.pipeline.quiet import quiet_imports\n"
        "with quiet_imports():\n"
        "    os.write(2, b'WARNING: All log messages before absl::InitializeLog() is called\\n')\n"
        "    os.write(2, b'I0000 00:00:1795490986.945435   17179 port.cc:153] on\\n')\n"
        "    os.write(2, b'E0000 00:00:1795490986.945435   17179 port.cc:153] broken\\n')\n"
        "    os.write(2, b'Segmentation fault\\n')\n"
        "os.write(2, b'I0000 00:00:1795490986.945435   after\\n')\n"
    )
    lines = stderr_of(script)
    assert [line[-6:] for line in lines] == ["broken", " fault", " after"]


def test_what_was_held_back_is_shown_when_an_import_fails():
    script = (
        "import os\n"
        "from manylabel.pipeline.quiet import quiet_imports\n"
        "try:\n"
        "    with quiet_imports():\n"
        "        os.write(2, b'why\\n')\n"
        "        import no_such_module\n"
        "except ImportError:\n"
        "    os.write(2, b'raised\\n')\n"
    )
    assert stderr_of(script) == ["why", "raised"]


def test_loggers_tell_errors_and_our_own_warnings():
    script = (
        "import logging\n"
        "from manylabel.pipeline.quiet import quiet_libraries\n"
        "quiet_libraries()\n"
        "logging.warning('root')\n"
        "logging.getLogger('apache_beam.io').warning('beam')\n"
        "logging.getLogger('apache_beam.io').error('beam broke')\n"
        "logging.getLogger('manylabel.trainer.job').warning('ours')\n"
    )
    # The first message that root gets sets up its format.
    assert [line.rpartition(":")[2] for line in stderr_of(script)] == ["beam broke", "ours"]
