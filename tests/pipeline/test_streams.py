"""A display that ends never ends the work: real commands whose output nobody can read any more."""

import csv
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName
from manylabel.trainer.runs.directory import DESCRIPTION

pytestmark = pytest.mark.slow

MANYLABEL = str(Path(sys.executable).with_name("manylabel"))
PICTURES = 8


@pytest.fixture
def preprocess(openclipart, tmp_path):
    """A command that makes a dataset of a few pictures at `tmp_path`."""
    with (openclipart / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = sorted({row["image_path"] for row in rows})[:PICTURES]
    with (tmp_path / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if row["image_path"] in chosen)
    return [
        *(MANYLABEL, "preprocess", "demo", "--output", str(tmp_path / "dataset")),
        *("--catalog", str(tmp_path / "labels.csv")),
        *("--set", f"preprocessing.catalog.image_root={openclipart}"),
        *("--set", "preprocessing.labels.minimum_count=1"),
        *("--set", "preprocessing.heldout.size=0.3"),
    ]


@pytest.fixture
def closed_pipe():
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def records(root):
    dataset = Dataset.open(root)
    return sum(dataset.records(split) for split in SplitName)


def test_a_terminal_is_closed(preprocess, tmp_path):
    """While a bar is on it; one whose end does not signal us, as after `disown`."""
    ours, theirs = pty.openpty()
    command = subprocess.Popen(preprocess, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    assert os.read(ours, 1)
    os.close(ours)
    assert command.wait() == 0
    assert records(tmp_path / "dataset") == PICTURES


@pytest.mark.parametrize("arguments", [["presets", "show", "demo"], ["runs", "."], ["--help"]])
def test_nobody_reads_the_pipe(arguments, closed_pipe, tmp_path):
    command = [MANYLABEL, *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, stdout=closed_pipe, stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_nobody_reads_what_is_wrong(closed_pipe, tmp_path):
    command = [MANYLABEL, "runs", str(tmp_path / "missing")]
    assert subprocess.run(command, stderr=closed_pipe, check=False).returncode == 2


def test_a_full_disk_ends_no_display_but_a_result_that_is_cut_short_is_told(tmp_path):
    """A table without its end must not look like one."""
    for arguments, code in ((["--help"], 0), (["runs", str(tmp_path)], 2)):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [MANYLABEL, *arguments], stdout=full, stderr=subprocess.PIPE, check=False
            )
        assert done.returncode == code
        told = b"error: standard output: No space left on device; what is there is cut short\n"
        assert done.stderr == (told if code else b"")


def test_characters_that_the_encoding_lacks(tmp_path):
    """The table's multiplication sign, and its dash for what there is not yet."""
    run = tmp_path / "run"
    run.mkdir()
    (run / DESCRIPTION).write_text("{")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [MANYLABEL, "runs", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert rb"\xd7" in done.stdout
    assert rb"\u2013" in done.stdout


def test_a_name_that_is_no_text_keeps_its_bytes(tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    command = [os.fsencode(MANYLABEL), b"runs", folder]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert folder in done.stdout.replace(b"\n", b"")


def test_a_slow_reader_of_a_pipe_that_does_not_block_gets_everything():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    script = "outlive_displays()\nprint('x' * 200_000)"
    with python(script, stdout=writing) as process, open(reading, "rb") as pipe:
        os.close(writing)
        assert len(pipe.read()) == 200_001
    assert process.returncode == 0


def test_closed_streams_leave_no_descriptor_to_files_of_the_work(tmp_path):
    script = (
        "import os, subprocess\n"
        "for descriptor in range(3): os.close(descriptor)\n"
        "outlive_displays()\n"
        f"with open({str(tmp_path / 'work')!r}, 'wb') as file:\n"
        "    subprocess.run('echo out; echo err >&2', shell=True, check=True)\n"
    )
    assert python(script).wait() == 0
    assert (tmp_path / "work").read_bytes() == b""


def python(script, **streams):
    imports = "from manylabel.pipeline.streams import outlive_displays\n"
    return subprocess.Popen([sys.executable, "-c", imports + script], **streams)
