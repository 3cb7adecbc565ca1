"""The functions for scripts, beside the command line."""

from pathlib import Path

import pytest

from manylabel import library
from manylabel.pipeline.cli import run

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (
            lambda: library.preprocess("no.yaml", "output"),
            ["preprocess", "no.yaml", "--output", "output"],
        ),
        (
            lambda: library.preprocess("demo", "output"),
            ["preprocess", "demo", "--output", "output"],
        ),
        (
            lambda: library.train("demo", "no", "run"),
            ["train", "demo", "--dataset", "no", "--run", "run"],
        ),
        (lambda: library.evaluate("no"), ["evaluate", "no"]),
        (
            lambda: library.evaluate(Path("no"), settings=library.EvalConfig(k=10)),
            ["evaluate", "no", "--set", "eval.k=10"],
        ),
        (lambda: library.export("no", "model"), ["export", "no", "--output", "model"]),
        (lambda: library.predict("no", "images"), ["predict", "no", "images"]),
        (lambda: library.load_settings("demo", ["eval.q=1"]), None),
    ],
)
def test_an_error_is_the_line_that_the_command_line_shows(
    call, arguments, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(library.ManylabelError) as caught:
        call()
    if arguments is None:
        arguments = ["train", "demo", "--dataset", "d", "--run", "r", "--set", "eval.q=1"]
    assert run(arguments) == 2
    assert capsys.readouterr().err == f"error: {caught.value}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: library.evaluate("s3://runs/a"), "expected a local path, received s3://runs/a"),
        (lambda: library.export("run", "m", top_k=0), "top_k: expected at least 1, received 0"),
        (
            lambda: library.predict("run", "images", batch_size=0),
            "batch_size: expected at least 1, received 0",
        ),
    ],
)
def test_arguments_that_the_command_line_would_not_take(call, told):
    with pytest.raises(library.ManylabelError, match=f"^{told}$"):
        call()


def test_a_home_directory_is_one(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(library.ManylabelError, match=f"^{tmp_path}/no: expected a run directory"):
        library.evaluate("~/no")


def test_all_that_is_documented_is_there():
    text = (REPOSITORY / "docs" / "library.md").read_text("utf-8")
    named = [name for name in library.__all__ if f"`{name}" not in text]
    assert named == []
