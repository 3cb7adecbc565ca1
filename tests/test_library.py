"""The functions for scripts, beside the command line."""

import os
import re
from pathlib import Path
from typing import Any

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
        (lambda: library.evaluate("s3://a"), "run: expected a local path, received s3://a"),
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


DEMO = library.load_settings("demo")
untyped: Any = library  # As those call it who check no types.


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: untyped.train(DEMO, "d", None), "run: expected a path as a str or a Path, receiv"),
        (lambda: untyped.train(DEMO, b"d", "r"), "dataset: .* or a Path, received b'd'"),
        (lambda: untyped.train(DEMO, "d", "r", address=3), "address: expected a str, received 3"),
        (lambda: untyped.train({"epochs": 1}, "d", "r"), "settings: .*TrainerConfig, .*a section"),
        (lambda: untyped.preprocess(DEMO, None), "output: expected a path .*, received None"),
        (lambda: untyped.preprocess(DEMO, "a\0b"), r"output: .* character 0, received 'a\\x00b'"),
        (
            lambda: untyped.preprocess(DEMO, "~typo/ds"),
            r"output: .* write \./~typo/ds for a folder",
        ),
        (lambda: untyped.preprocess(DEMO, "\udcff"), "output: .* in UTF-8, received .*; rename it"),
        (lambda: untyped.evaluate("bad\udcff"), "run: .* in UTF-8, received .*; rename it"),
        (lambda: untyped.preprocess(DEMO.trainer, "o"), "settings: .*, received a TrainerConfig"),
        (lambda: untyped.train("~typo/a.yaml", "d", "r"), "settings: .* there is no such user; "),
        (lambda: untyped.preprocess(None, "o"), "settings: expected Settings, .* received None"),
        (lambda: untyped.evaluate(3), "run: expected a path as a str or a Path, received 3"),
        (lambda: untyped.evaluate("a\0b"), "run: expected a path without the character 0"),
        (lambda: untyped.evaluate("r", dataset=b"d"), "dataset: expected a path .* received b'd'"),
        (
            lambda: untyped.evaluate("r", settings=DEMO.trainer),
            "settings: expected Settings or an EvalConfig, received a TrainerConfig",
        ),
        (lambda: untyped.evaluate("no", settings=DEMO), "no: expected a run directory"),
        (lambda: untyped.export("r", "m", top_k="5"), "top_k: .* whole number, received '5'"),
        (lambda: untyped.export("r", "m", top_k=True), "top_k: .* whole number, received True"),
        (lambda: untyped.export("r", "m", step="5"), "step: .* whole number, received '5'"),
        (lambda: untyped.predict("r", None), "images: expected a path .*, received None"),
        (lambda: untyped.predict("r", "i", batch_size=1.5), "batch_size: expected a whole number"),
        (lambda: untyped.load_settings(None), "expected the path of a YAML file .* received None"),
        (lambda: untyped.load_settings(3), "expected the path of a YAML file .* received 3"),
        (lambda: untyped.load_settings(b"demo"), "expected the path of a YAML file .* b'demo'"),
        (lambda: untyped.load_settings({}), "expected the path of a YAML file .* a section"),
        (lambda: untyped.load_settings("x" * 5000), "x{200}…: cannot be read: .* too long"),
        (lambda: untyped.load_settings("a\0b"), r"a\\x00b: expected a YAML file"),
        (
            lambda: untyped.load_settings("demo", "trainer.epochs=1"),
            "overrides: expected a list of section.key=value, received 'trainer.epochs=1'",
        ),
        (lambda: untyped.load_settings("demo", [1]), r"overrides: .* received \[1\]"),
    ],
)
def test_arguments_of_another_kind(call, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(library.ManylabelError, match=f"^{told}") as caught:
        call()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_preset_is_one_as_a_path_too():
    assert library.load_settings(Path("demo")) == DEMO


def test_a_home_directory_is_one(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(library.ManylabelError, match=f"^{tmp_path}/no: expected a run directory"):
        library.evaluate("~/no")


@pytest.mark.parametrize(("dataset", "place"), [("d", "/r"), ("/d", "r")])
def test_a_folder_that_documents_cannot_name_is_told_before_anything_begins(
    dataset, place, monkeypatch, tmp_path, capsys
):
    bad = tmp_path / os.fsdecode(b"a\xff")
    bad.mkdir()
    monkeypatch.chdir(bad)
    told = r": expected a path in UTF-8, received '/.*a\\udcff/[dr]'; rename it$"
    with pytest.raises(library.ManylabelError, match=told):
        library.train("demo", dataset, place)
    assert run(["train", "demo", "--dataset", dataset, "--run", place]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(told.removesuffix("$"), line)
    assert not list(bad.iterdir())


def test_all_that_is_documented_is_there():
    text = (REPOSITORY / "docs" / "library.md").read_text("utf-8")
    named = [name for name in library.__all__ if f"`{name}" not in text]
    assert named == []
    table = re.findall(r"^\| `(\w+)\(", text, re.MULTILINE)
    imported = re.findall(r"^from manylabel\.library import (.+)$", text, re.MULTILINE)
    told = {*table, *(name for line in imported for name in line.split(", "))}
    assert len(table) > 5
    assert told - set(library.__all__) == set()
