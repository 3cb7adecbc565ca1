"""`manylabel demo` where the pictures are not: tests/integration/test_demo.py runs it where they
are."""

import pytest

from manylabel.pipeline import demo
from manylabel.pipeline.cli import run

NAMED = "preprocessing.catalog.path"


@pytest.fixture
def output(tmp_path, monkeypatch):
    """For an installation, which has no folder of examples."""
    monkeypatch.setattr(demo, "CATALOG", tmp_path / "examples" / "labels.csv")
    return tmp_path / "output"


def test_an_installation_says_where_the_pictures_are(output, capsys):
    assert run(["demo", "--output", str(output)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {output.parent}/examples/labels.csv: not found: ")
    assert "in the source distribution" in line
    assert line.endswith(f"--set {NAMED}=.../examples/openclipart/labels.csv")
    assert not output.exists()


def test_pictures_can_be_named_that_lie_elsewhere(output, capsys, tmp_path):
    catalog = tmp_path / "labels.csv"
    catalog.write_text("picture,label\na.jpg,dog\n")
    assert run(["demo", "--output", str(output), "--set", f"{NAMED}={catalog}"]) == 2
    error = capsys.readouterr().err
    assert "image_path" in error  # Of that file: it was read.
    assert "installation" not in error
