"""The command line: exit codes, and one clear line for what is wrong."""

import errno
import os
import subprocess
import sys

import pytest
from upath import UPath

from manylabel.pipeline import cli
from manylabel.pipeline.config import preset_names
from manylabel.pipeline.errors import Interrupted, SettingsError
from manylabel.storage.errors import DatasetError
from manylabel.storage.provenance import code_version
from manylabel.storage.stop_signals import STOP_SIGNALS
from tests._file_sizes import no_file_larger_than

SETTINGS = "preprocessing: {catalog: {path: %s}}\n"


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(SETTINGS % (tmp_path / "catalog.csv"))
    return str(path)


def failing(error):
    def command():
        raise error

    return command


def test_the_version_is_shown_without_a_command(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"manylabel {code_version()}\n"
    assert cli.run(["--version", "train", "no.yaml"]) == 0  # As of other commands: it comes first.


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["bogus"], "; see manylabel --help"),
        (["train"], "Missing argument 'CONFIG'; see manylabel train --help"),
        (["train", "demo"], "Missing option '--dataset'"),
        (["train", "demo", "--dataset", "d", "--run", "r", "--sat", "a=b"], "No such option"),
        (["evaluate", "run", "--step"], "'--step' requires an argument"),
        (["export", "run", "--output", "o", "--step", "x"], "'--step': Input should be"),
        (["presets", "show", "bogus"], "preset bogus: expected one of demo"),
        (["preprocess", "bogus.yaml", "--output", "o"], "there is no such file"),
        (["train", "bogus.yaml", "--dataset", "d", "--run", "r"], "there is no such file"),
        (["runs", "bogus"], "found none; name it: manylabel runs ROOT"),
        (["jobs", "bogus"], "found none; name it: manylabel jobs ROOT"),
        (["evaluate", "bogus"], "expected a run directory"),
        (["evaluate", "bogus", "--set", "trainer.epochs=1"], "expected eval.key=value"),
        (["evaluate", "bogus", "--set", "evaluation.k=1"], "expected eval.key=value"),
        (["evaluate", "s3://bucket/run"], "expected a local path, received s3://bucket/run"),
        (["export", "run", "--output", "s3://b/o"], "expected a local path, received s3://b/o"),
        (["export", "gs://b/run", "--output", "o"], "expected a local path, received gs://b/run"),
        (["train", "demo", "--dataset", "d", "--run", "s3://b/r"], "expected a local path, rec"),
        (["runs", "s3://bucket"], "expected a local path, received s3://bucket"),
        (["preprocess", "demo", "--output", "~nobody-here/ds"], "write ./~nobody-here/ds for a fo"),
        (["runs", "~nobody-here"], "there is no such user"),
        (["train", "demo", "--dataset", "d", "--run", "r/" + "n" * 300], "at most 255 bytes, rec"),
        (["preprocess", "demo", "--output", "n" * 300], "names of at most 255 bytes, received one"),
        (["export", "r", "--output", "/tmp/" + "d/" * 2100], "a path of at most 4,095 bytes, rec"),
        (["demo", "--output", "s3://bucket"], "expected a local path, received s3://bucket"),
        (["export", "bogus", "--output", "o"], "expected a run directory"),
        (["compare", "a", "b", "--margin", "inf"], "--margin inf: expected a difference"),
        (["review", "a", "1", "--margin", "nan"], "'--margin': "),
        (["review", "a", "1", "--output", "labels.pdf"], "expected a name that ends in .html"),
        (["score", "p", "--dataset", "d", "--run", "r", "--step", "9" * 20], "'--step': "),
        (["score", "p", "--dataset", "d", "--samples", "9" * 20], "'--samples': "),
        (["promote", "bad\udcff", "--step", "1", "--reason", "x"], "expected a path in UTF-8"),
        (["submit", "preprocess", "demo", "--output", "bad\udcff"], "expected a path in UTF-8"),
        (["preprocess", "demo", "--output", "bad\udcff"], "expected a path in UTF-8"),
        (["train", "demo", "--dataset", "d", "--run", "bad\udcff"], "expected a path in UTF-8"),
        (["score", "bad\udcff", "--dataset", "d"], "expected a path in UTF-8"),
        (["promote", "r", "--step", "1", "--reason", "\udcff"], "--reason: expected text in UTF-8"),
    ],
)
def test_wrong_arguments_and_files(arguments, problem, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert problem in line
    assert list(tmp_path.iterdir()) == []


def with_place(error):
    error.filename = "/far/away"
    return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DatasetError(), "error: DatasetError"),
        (DatasetError(" "), "error: DatasetError"),
        (with_place(TimeoutError()), "error: /far/away: TimeoutError"),
        (with_place(OSError("quota exceeded")), "error: /far/away: quota exceeded"),
    ],
)
def test_an_error_without_words_is_told_all_the_same(error, line, monkeypatch, capsys):
    monkeypatch.setattr("manylabel.pipeline.app.app", lambda *_, **__: failing(error)())
    assert cli.run([]) == 2
    assert capsys.readouterr().err.splitlines() == [line]


def test_wrong_settings(settings, tmp_path, capsys):
    wrong = ["--set", "trainer.epochs=0", "--set", "trainer.modle.width=1"]
    arguments = ["train", settings, "--dataset", str(tmp_path / "d"), "--run", str(tmp_path / "r")]
    assert cli.run([*arguments, *wrong]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"error: {settings} with --set: trainer.epochs: expected greater than 0, received 0",
        f"error: {settings} with --set: trainer.modle: unknown setting; did you mean model?",
    ]


def test_no_dataset(settings, tmp_path, capsys):
    dataset, run = tmp_path / "dataset", tmp_path / "run"
    assert cli.run(["train", settings, "--dataset", str(dataset), "--run", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(dataset) in line
    assert not run.exists()


def test_no_catalog(settings, tmp_path, capsys):
    assert cli.run(["preprocess", settings, "--output", str(tmp_path / "dataset")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "catalog.csv") in line


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (SettingsError("one\ntwo"), 2, "error: one\nerror: two\n"),
        (DatasetError("no dataset"), 2, "error: no dataset\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "error: /x: Permission den"),
        (OSError(errno.ENOSPC, "No space left", "s3://x"), 2, "error: s3://x: No space left; make"),
        (OSError(errno.ENOSPC, "No space left"), 2, "error: No space left: "),
        (RuntimeError("x; No space left on device [Op:Save]"), 2, "error: No space left on device"),
        (OSError(errno.EROFS, "Read-only file system"), 2, "error: Read-only file system"),
        (Interrupted("stopped at step 3"), 130, "stopped at step 3\n"),
        (KeyboardInterrupt(), 130, "stopped; the same command begins again, or goes on"),
    ],
)
def test_errors_and_their_exit_codes(error, code, text, monkeypatch, capsys):
    monkeypatch.setattr("manylabel.pipeline.config.preset_names", failing(error))
    assert cli.run(["presets", "list"]) == code
    assert capsys.readouterr().err.startswith(text)


def test_a_current_folder_that_was_removed_is_told(tmp_path, monkeypatch, capsys):
    """Processes cannot be started there; what does without them works."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert cli.run(["presets", "list"]) == 0
    capsys.readouterr()
    monkeypatch.setattr("manylabel.pipeline.config.preset_names", os.getcwd)
    assert cli.run(["presets", "list"]) == 2
    assert capsys.readouterr().err.startswith("error: the current folder was removed; run")


def test_an_internal_error_leaves_its_traceback_in_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(
        "manylabel.pipeline.config.preset_names", failing(ZeroDivisionError("by\nzero"))
    )
    assert cli.run(["presets", "list"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("internal error: ZeroDivisionError: by zero (traceback: ")
    with open(line.partition("traceback: ")[2].rstrip(")"), encoding="utf-8") as file:
        assert "Traceback (most recent call last)" in file.read()


def test_an_internal_error_survives_arguments_that_are_no_text(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("manylabel.pipeline.config.preset_path", lambda name: 1 / 0)
    assert cli.run(["presets", "show", "\udcff"]) == 1
    assert capsys.readouterr().err.startswith("internal error: ZeroDivisionError")
    (kept,) = tmp_path.iterdir()
    assert "\\udcff" in kept.read_text("utf-8")


def test_an_internal_error_is_told_where_its_traceback_cannot_be_kept(monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", "/proc")  # Nobody makes a file there.
    monkeypatch.setattr("manylabel.pipeline.config.preset_names", lambda: 1 / 0)
    assert cli.run(["presets", "list"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("internal error: ZeroDivisionError: division by zero (traceback: not ")
    assert line.endswith("; --debug shows it)")


def test_a_traceback_for_which_there_is_no_room_leaves_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("manylabel.pipeline.config.preset_names", lambda: 1 / 0)
    with no_file_larger_than(100):
        assert cli.run(["presets", "list"]) == 1
    assert f"(traceback: not kept, {tmp_path}/manylabel-" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(monkeypatch, capsys):
    monkeypatch.setattr(
        "manylabel.pipeline.config.preset_names", failing(ZeroDivisionError("by zero"))
    )
    assert cli.run(["--debug", "presets", "list"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_presets_are_listed_and_shown_with_their_comments(capsys):
    assert cli.run(["presets", "list"]) == 0
    assert capsys.readouterr().out.split() == preset_names()
    assert cli.run(["presets", "show", "jft-xception"]) == 0
    assert "# Paper, 4.2" in capsys.readouterr().out


def test_runs_of_an_empty_folder(tmp_path, capsys):
    assert cli.run(["runs", str(tmp_path)]) == 0
    assert "no runs yet" in capsys.readouterr().out


def test_datasets_may_be_uris(settings, tmp_path, monkeypatch, capsys):
    """The memory that holds another's files is found where the URI says, not in a local folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "catalog.csv").write_text("image_path,label,confidence\n1.jpg,cat,1\n")
    before = sorted(tmp_path.iterdir())
    uri = "memory://bucket/dataset"
    UPath(uri).mkdir(parents=True)
    (UPath(uri) / "others").write_text("text")
    inline = "preprocessing.executor=inline"
    assert cli.run(["preprocess", settings, "--output", uri, "--set", inline]) == 2
    assert f"{uri}: expected a new or empty directory" in capsys.readouterr().err
    assert cli.run(["train", settings, "--dataset", uri, "--run", "r"]) == 2
    assert f"{uri}: no manifest.json" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_the_home_directory_is_found_where_no_shell_has_seen_it(settings, tmp_path, capsys):
    """As in --output=~/ds, which shells leave as it is."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / "catalog.csv").write_text("image_path,label,confidence\nnone.jpg,cat,1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.chdir(elsewhere)
        given = ["--output=~/ds", "--catalog=~/catalog.csv", "--set=preprocessing.executor=inline"]
        assert cli.run(["preprocess", settings, *given]) == 2
    assert "no image is left to train on (1 missing file)" in capsys.readouterr().err
    assert (home / "ds" / "plan").is_dir()
    assert list(elsewhere.iterdir()) == []


def test_paths_are_printed_as_they_are(tmp_path, capsys):
    root = tmp_path / "out[" / "x][lr=1e-3]"
    root.mkdir(parents=True)
    assert cli.run(["runs", str(root)]) == 0
    assert str(root) in capsys.readouterr().out.replace("\n", "")


def test_networks_are_listed_with_what_they_cost(capsys):
    assert cli.run(["networks"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    named = [row[0] for row in rows if row and row[-1].endswith("-05")]
    assert set(named) == {"xception", "inception_v3", "vgg_separable", "resnet"}
    found = {row[0]: row for row in rows if row}
    assert found["vgg16"][1:3] == ["224", "138,357,544"]
    assert found["xception"][1:] == ["299", "22,855,952", "22,910,480", "8.36", "2,048", "1e-05"]
    of_2016 = rows[rows.index(["variant=2016"]) - 1]
    assert of_2016[:3] == ["inception_v3", "299", "23,626,728"]


def test_the_network_of_settings_is_counted(capsys):
    arguments = ["networks", "jft-xception", "--classes", "17000"]
    assert cli.run([*arguments, "--set", "trainer.model.segments=4"]) == 0
    printed = capsys.readouterr().out
    assert "with 17,000 classes" in printed
    assert "95,674,616" in printed
    assert "segments=4" in printed


def test_an_override_of_no_settings_is_refused(capsys):
    assert cli.run(["networks", "--set", "trainer.model.width=0.5"]) == 2
    assert "expected a CONFIG" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["runs", "{}"], ["status", "{}"], ["evaluate", "s3://{}"]])
def test_what_a_terminal_would_obey_is_spelled_out(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run([each.format("a\x01\x07\x1b[31mb") for each in arguments]) == 2
    told = capsys.readouterr().err
    assert r"a\x01\x07\x1b[31mb" in told
    assert told.removesuffix("\n").isprintable()


@pytest.mark.parametrize(("hangs", "told"), [(False, "Ray ends its processes\n"), (True, "")])
def test_a_ray_that_hangs_does_not_keep_the_command(hangs, told):
    script = f"""if True:
        import atexit, sys
        from manylabel.cluster.leaving import abandoned
        from manylabel.pipeline import cli
        sys.modules["ray"] = sys  # in place of what takes seconds to load
        atexit.register(print, "Ray ends its processes")
        cli.run = lambda arguments: {hangs} and abandoned.set() or 75
        cli.main()
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (75, told, "")


@pytest.mark.parametrize(("code", "number"), [(0, STOP_SIGNALS[0]), (75, STOP_SIGNALS[1])])
def test_what_is_told_to_stop_when_it_is_done_ends_as_it_did(code, number):
    script = f"""if True:
        import atexit, os, sys
        from manylabel.pipeline import cli
        atexit.register(os.kill, os.getpid(), {int(number)})
        cli.run = lambda arguments: sys.stdout.write("the result") and {code}
        cli.main()
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "the result", "")
