"""`--verbose`: lines of processes, with their names, and not too many."""

import io
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from manylabel.pipeline import quiet
from manylabel.pipeline import verbose as module
from manylabel.pipeline.quiet import quiet_imports, quiet_libraries
from manylabel.pipeline.verbose import LINES, Tail, verbose_output
from manylabel.preprocessing.executors.processes import Processes
from manylabel.storage.jobs import LOGS_VARIABLE, JobStage, local_logs_path


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "logs"


def write(folder, process, text):
    folder.mkdir(exist_ok=True)
    with (folder / f"{process}.log").open("a") as log:
        log.write(text)


def test_each_line_is_of_a_process(folder):
    write(folder, "worker-0", "of an earlier command\n")
    tail = Tail(folder)
    write(folder, "worker-0", "one\ntwo\n")
    write(folder, "shard-1", "three\n")
    assert list(tail.lines()) == ["shard-1 | three", "worker-0 | one", "worker-0 | two"]
    assert list(tail.lines()) == []


def test_a_line_is_shown_once_it_is_whole(folder):
    tail = Tail(folder)
    write(folder, "worker-0", "one\nhal")
    assert list(tail.lines()) == ["worker-0 | one"]
    write(folder, "worker-0", "f\nre")
    assert list(tail.lines()) == ["worker-0 | half"]
    write(folder, "worker-0", "st")
    assert list(tail.lines(is_over=True)) == ["worker-0 | rest"]


def test_what_is_printed_while_it_is_read_is_shown_once(folder, monkeypatch):
    class Growing(io.FileIO):
        def read(self, size=-1):
            write(folder, "worker-0", "two\n")
            return super().read(size)

    tail = Tail(folder)
    write(folder, "worker-0", "one\n")
    with monkeypatch.context() as patch:
        opened = Path.open
        patch.setattr(
            Path, "open", lambda log, mode: Growing(log) if mode == "rb" else opened(log, mode)
        )
        shown = list(tail.lines())
    assert shown + list(tail.lines()) == ["worker-0 | one", "worker-0 | two"]


@pytest.mark.parametrize(
    ("text", "left_out"),
    [("line\n" * (LINES + 5), "5 lines"), ("line\n" * 50_000, "184,464 bytes and more")],
)
def test_who_prints_much_is_shown_in_part(folder, text, left_out):
    tail = Tail(folder)
    write(folder, "worker-0", text)
    *lines, last = tail.lines()
    assert lines == ["worker-0 | line"] * LINES
    assert last == f"worker-0 | ... {left_out} left out; all are in {folder / 'worker-0.log'}"


def test_what_is_printed_does_nothing_to_the_terminal(folder):
    tail = Tail(folder)
    write(folder, "worker-0", "\x1b[2Jred\a\r\n")
    (line,) = tail.lines()
    assert line == r"worker-0 | \x1b[2Jred\x07"


@pytest.fixture
def as_in_a_command(monkeypatch):
    """Variables and loggers as a command sets them, and as before when the test is over."""
    for name in (*quiet._VARIABLES, *quiet._OURS, LOGS_VARIABLE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    root, levels = (
        logging.getLogger(),
        {name: logging.getLogger(name).level for name in ("", *quiet._LEVELS)},
    )
    handlers, filters = list(root.handlers), list(root.filters)
    quiet_libraries()
    yield
    root.handlers[:], root.filters[:] = handlers, filters
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


PRINT = "import sys; sys.stderr.write('Corrupt JPEG data\\n')"


@pytest.mark.usefixtures("as_in_a_command")
def test_workers_print_to_the_terminal_with_it(tmp_path, capfd):
    with verbose_output(True, tmp_path, JobStage.PREPROCESS):
        executor = Processes(1)
        list(executor.map(exec, [PRINT], 1))
        executor.close()
    shown = capfd.readouterr()
    assert shown.out == "", "results alone go to standard output"
    assert "worker-0 | Corrupt JPEG data\n" in shown.err
    assert "worker-0 | process " in shown.err
    log = local_logs_path(tmp_path, JobStage.PREPROCESS) / "worker-0.log"
    assert "Corrupt JPEG data" in log.read_text()


@pytest.mark.usefixtures("as_in_a_command")
def test_libraries_speak_with_it_alone(tmp_path, capfd):
    with verbose_output(False, tmp_path, JobStage.EVALUATE):
        logging.getLogger("apache_beam.runners").info("quiet")
        assert os.environ[quiet._TENSORFLOW_LEVEL] in "23"
        assert LOGS_VARIABLE not in os.environ
    logging.getLogger().handlers.clear()  # pytest's own
    with verbose_output(True, tmp_path, JobStage.EVALUATE):
        logging.getLogger("apache_beam.runners").info("aloud")
        assert os.environ[quiet._TENSORFLOW_LEVEL] == "0"
        with quiet_imports():
            os.write(2, b"I0000 00:00: of TensorFlow's C++\n")
    assert (
        capfd.readouterr().err == "apache_beam.runners: aloud\nI0000 00:00: of TensorFlow's C++\n"
    )
    assert not list(tmp_path.iterdir()), "there is no folder until a process prints"


@pytest.mark.usefixtures("as_in_a_command")
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_without_a_place_logs_stay_after_a_failure_alone_and_are_named(
    tmp_path, monkeypatch, capsys, error
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with suppress(KeyboardInterrupt), verbose_output(True, None, JobStage.PREPROCESS):
        write(Path(os.environ[LOGS_VARIABLE]), "worker-0", "one\n")
        if error is not None:
            raise error
    folders = list(tmp_path.iterdir())
    named = [f"what processes printed is in {folder}" for folder in folders]
    assert capsys.readouterr().err.splitlines() == ["worker-0 | one", *named]
    assert len(folders) == (error is not None)


@pytest.mark.usefixtures("as_in_a_command")
def test_a_job_of_a_cluster_prints_where_it_does_anyway(tmp_path, monkeypatch):
    monkeypatch.setenv(LOGS_VARIABLE, str(tmp_path))
    with verbose_output(True, tmp_path / "run", JobStage.TRAIN):
        assert os.environ[LOGS_VARIABLE] == str(tmp_path)
    assert module.logs_of_this_job() == tmp_path
