"""The command `preprocess`: what its options reach, and how it is stopped."""

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manylabel.pipeline import cli
from manylabel.pipeline.config import load_settings
from manylabel.pipeline.events import Event, WorkBegan, WorkEnded
from manylabel.pipeline.preprocess import preprocess_with
from manylabel.preprocessing import progress
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.progress import Stage
from manylabel.storage.dataset import Dataset

pytestmark = pytest.mark.slow

IMAGES = 12


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    (root / "cat").mkdir()
    for number in range(IMAGES):
        pixels = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((60, 50)).save(root / "cat" / f"{number}.png")
    return root


@pytest.fixture
def command(catalog, tmp_path):
    """The arguments of a command that makes a dataset in `ds`, without a process of its own."""
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        f"preprocessing:\n  catalog: {{path: {catalog}}}\n  executor: inline\n"
        "  shards: {images_per_shard: 4}\n"
    )
    return ["preprocess", str(settings), "--output", str(tmp_path / "ds")]


def test_options_reach_the_job(command, catalog, tmp_path, capsys):
    picture = catalog / "cat" / "0.png"
    content = picture.read_bytes()
    picture.write_bytes(b"")
    assert cli.run(command) == 0
    assert "--retry-rejected would look again at 1 of these images" in capsys.readouterr().out

    shard = next((tmp_path / "ds" / "train").glob("*.tfrecord"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    assert cli.run(command) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert cli.run([*command, "--verify"]) == 0
    assert "wrote 1 shards" in capsys.readouterr().out

    picture.write_bytes(content)
    assert cli.run([*command, "--retry-rejected"]) == 0
    told = capsys.readouterr().out
    assert "looked again at 1 rejected images: 1 are no longer missing or broken" in told
    assert Dataset.open(tmp_path / "ds").manifest.counts.written == IMAGES


def test_nothing_is_told_outside_of_the_work(command, catalog):
    """A terminal shows progress between the two."""
    told: list[tuple[Event, bool]] = []

    def note(event):
        told.append((event, any(each.name == "standstill" for each in threading.enumerate())))

    settings = load_settings(command[1]).preprocessing
    with pytest.raises(PreprocessingError, match="inside the catalog folder"):
        preprocess_with(settings, str(catalog / "ds"), note)
    assert told[0] == (WorkBegan("preprocess"), False)
    assert told[-1] == (WorkEnded(), False)


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        (Stage.CHECK_IMAGES, signal.SIGTERM),  # In a step of Beam's.
        (Stage.WRITE_SHARDS, signal.SIGINT),
    ],
)
def test_a_signal_ends_it_in_one_line_and_the_same_command_goes_on(
    stage, number, command, tmp_path, monkeypatch, capsys
):
    real = progress.Meter._begin

    def begin(self, begun, total):
        if begun is stage:
            os.kill(os.getpid(), number)
        return real(self, begun, total)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(progress.Meter, "_begin", begin)
        assert cli.run(command) == 130
    assert capsys.readouterr().err == "stopped; the same command goes on where it was\n"
    assert signal.getsignal(number) == before
    assert not Path(tmp_path / "ds" / "manifest.json").exists()
    assert cli.run(command) == 0
    assert Dataset.open(tmp_path / "ds").manifest.counts.written == IMAGES
