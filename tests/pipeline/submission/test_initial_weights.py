"""Weights that a submitted training begins with: every node must see them, where they are files."""

import pytest

from manylabel.pipeline import cli
from manylabel.pipeline.commands import submitting


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """folders(location): what is looked for on the nodes when it is submitted with them."""
    asked = []

    def submit(stage, place, arguments, settings, folders, delivery):
        asked.append(folders)
        return 0

    monkeypatch.setattr(submitting, "submit", submit)
    monkeypatch.chdir(tmp_path)

    def ask(location):
        arguments = ["submit", "train", "demo", "--dataset", "data", "--run", "runs/first"]
        assert cli.run([*arguments, "--set", f"trainer.model.initial_weights={location}"]) == 0
        return asked.pop()

    return ask


@pytest.mark.parametrize(
    ("location", "read"),
    [
        ("null", ["data"]),
        ("x.keras", ["data", "x.keras"]),
        ("runs/earlier", ["data", "runs/earlier"]),
        ("s3://weights/x.keras", ["data"]),
        ("Xception", ["data"]),
    ],
)
def test_files_to_begin_with_are_looked_for_on_the_nodes(location, read, folders, tmp_path):
    assert folders(location).read == tuple(str(tmp_path / name) for name in read)


def test_a_run_that_goes_on_needs_them_no_more(folders, tmp_path):
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "run.json").touch()
    assert folders("x.keras").read == (str(tmp_path / "data"),)
