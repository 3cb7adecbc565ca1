"""The stage `predict` around a model that always says the same: files, faults, and the terminal."""

import io
import os
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from manylabel.deploy.origin import ModelOrigin
from manylabel.deploy.predicted_labels import Prediction
from manylabel.pipeline import cli, events
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.predict import predict_labels
from manylabel.storage.image_policy import ImageConfig

SEEN = Prediction(("sky", "sea"), (0.75, 0.5))


class SaysTheSame:
    """Stands for deploy's Predictor."""

    def predict(self, images):
        return [SEEN for _ in images]


@pytest.fixture
def model(tmp_path, monkeypatch):
    """An exported model whose graph is never loaded."""
    model = tmp_path / "model"
    (model / "1").mkdir(parents=True)
    (model / "1" / "saved_model.pb").write_bytes(b"")
    ModelOrigin(
        run="runs/first",
        step=7,
        samples=224,
        checkpoint_digest="c" * 64,
        dataset_digest="d" * 64,
        code_version="0.1.0",
        top_k=2,
        images=ImageConfig(max_bytes=400_000),
    ).write(model / "export.json")
    monkeypatch.setattr("manylabel.pipeline.predict._load", lambda model, top_k: SaysTheSame())
    return model


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.fixture(scope="module")
def picture():
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, "PNG")
    return file.getvalue()


def predict(model, images, output, batch_size=5, on_event=lambda event: None):
    return predict_labels(model, images, output, None, None, batch_size, on_event)


def rows_of(path):
    return {row["image_path"]: row for row in pq.read_table(path).to_pylist()}


def test_progress_counts_to_the_end(model, images, picture, tmp_path):
    for number in range(11):
        (images / f"{number}.png").write_bytes(picture)
    told: list[events.Event] = []
    predict(model, images, tmp_path / "labels.csv", batch_size=4, on_event=told.append)
    counts = [(e.done, e.total) for e in told if isinstance(e, events.PredictionProgressed)]
    assert counts == [(4, 11), (8, 11), (11, 11)]
    assert (told[0], told[-1]) == (events.WorkBegan("predict"), events.WorkEnded())


def test_no_more_than_the_next_batch_is_read_ahead(model, images, picture, tmp_path, monkeypatch):
    """So that memory does not grow with the folder."""
    for number in range(20):
        (images / f"{number:02d}.png").write_bytes(picture)
    read: list[str] = []

    def fetch(root, name, max_bytes):
        read.append(name)
        return (root / name).read_bytes()

    monkeypatch.setattr("manylabel.pipeline.predict.fetch", fetch)
    ahead = []

    def note(event):
        if isinstance(event, events.PredictionProgressed):
            ahead.append(len(read) - event.done)

    predict(model, images, tmp_path / "labels.parquet", batch_size=3, on_event=note)
    assert sorted(read) == [path.name for path in sorted(images.iterdir())]
    assert max(ahead) <= 3


def test_where_no_image_could_be_seen_the_file_says_why(model, images, tmp_path):
    (images / "a.jpg").write_text("<html>")
    output = tmp_path / "labels.parquet"
    with pytest.raises(CommandError, match=r"none of the 1 images could be seen.* a\.jpg: not an"):
        predict(model, images, output)
    assert rows_of(output)["a.jpg"]["fault"].startswith("not an image")


def test_names_of_any_bytes_and_links_out_of_the_folder(model, images, picture, tmp_path):
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(picture)
    (images / "outside.jpg").symlink_to(outside)
    (images / "nowhere.jpg").symlink_to(images / "missing.jpg")
    os.mkfifo(images / "pipe.jpg")  # Reading it would never end.
    for name in ("two\nlines.jpg", "Übung 🎉.JPG", "=1+1.jpg"):
        (images / name).write_bytes(picture)
    (images / os.fsdecode(b"\xff.jpg")).write_bytes(picture)
    (images / os.fsdecode(b"\xfe.jpg")).write_bytes(b"")
    (images / "inside.jpg").symlink_to(images / "=1+1.jpg")
    report = predict(model, images, tmp_path / "labels.parquet")
    faults = {path: row["fault"] for path, row in rows_of(tmp_path / "labels.parquet").items()}
    seen = {path for path, fault in faults.items() if fault is None}
    assert seen == {"two\nlines.jpg", "Übung 🎉.JPG", "=1+1.jpg", "\\xff.jpg", "inside.jpg"}
    assert "is a link to" in faults["outside.jpg"]
    assert "missing file" in faults["nowhere.jpg"]
    assert "is not a file" in faults["pipe.jpg"]
    assert "empty file" in faults["\\xfe.jpg"]
    assert all(line.isprintable() for line in report.lines())


def test_a_folder_that_cannot_be_listed_is_told_of(model, images, picture, tmp_path, monkeypatch):
    (images / "locked").mkdir()
    (images / "a.jpg").write_bytes(picture)
    real = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    predict(model, images, tmp_path / "labels.parquet")
    rows = rows_of(tmp_path / "labels.parquet")
    assert rows["locked"]["fault"] == "folder that cannot be listed: Permission denied"
    assert rows["a.jpg"]["fault"] is None


def test_storage_that_fails_costs_one_image(model, images, picture, tmp_path, monkeypatch):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (images / name).write_bytes(picture)

    def fetch(root, name, max_bytes):
        if name == "b.jpg":
            raise OSError(5, "Input/output error")
        return (root / name).read_bytes()

    monkeypatch.setattr("manylabel.pipeline.predict.fetch", fetch)
    predict(model, images, tmp_path / "labels.parquet")
    faults = [row["fault"] for row in rows_of(tmp_path / "labels.parquet").values()]
    assert faults == [None, "unreadable file: Input/output error", None]


def test_memory_that_fails_is_a_fault(model, images, picture, tmp_path, monkeypatch):
    (images / "a.jpg").write_bytes(picture)

    def has_no_memory(data, policy):
        raise MemoryError

    monkeypatch.setattr("manylabel.pipeline.predict.store", has_no_memory)
    with pytest.raises(CommandError, match=r"a\.jpg: expected room for its pixels"):
        predict(model, images, tmp_path / "labels.parquet")


def test_an_interrupted_prediction_leaves_no_file(model, images, picture, tmp_path):
    (images / "a.jpg").write_bytes(picture)
    before = sorted(tmp_path.iterdir())

    def interrupt(event):
        if isinstance(event, events.PredictionProgressed):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(model, images, tmp_path / "labels.parquet", on_event=interrupt)
    assert sorted(tmp_path.iterdir()) == before


def test_no_warning_of_large_pictures_is_shown(model, images, picture, tmp_path, monkeypatch):
    """`store` keeps it back in one thread at a time."""
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 300)
    for number in range(200):
        (images / f"{number}.png").write_bytes(picture)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict(model, images, tmp_path / "labels.parquet", batch_size=100)
        faults = {row["fault"] for row in rows_of(tmp_path / "labels.parquet").values()}
        assert faults == {None}
        # What the threads leave behind is taken back as well.
        assert warnings.filters[0][:3] == ("error", None, Warning)


def error_of(arguments, capsys):
    """The one line of a command that fails."""
    assert cli.run([str(argument) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


def test_what_is_wrong_is_one_line(model, images, picture, tmp_path, monkeypatch, capsys):
    (images / "a.jpg").write_bytes(picture)
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    (tmp_path / "file").write_text("text")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for arguments, problem in (
        (
            ["bogus", images],
            "bogus: expected an exported model (export.json), a run (run.json), or",
        ),
        ([tmp_path, images], "or a folder of runs that has a champion; `manylabel runs` lists"),
        (["s3://bucket/run", images], "expected a local path, received s3://bucket/run"),
        ([model, "bogus"], "bogus: expected a folder of images or an image; it cannot be read: No"),
        ([model, "empty"], "empty: expected images (JPEG, PNG, WEBP, GIF, BMP), found none"),
        ([model, "texts"], "texts: expected images (JPEG, PNG, WEBP, GIF, BMP), found none"),
        ([model, images, "--output", "l.json"], "l.json: expected a file that ends in .parquet or"),
        ([model, images, "--output", "file/l.csv"], "file: File exists"),
        ([model, images, "--top-k", "3"], "at most the 2 labels of an image that it was exported"),
        ([model, images, "--top-k", "0"], "Input should be greater than or equal to 1"),
        ([model, images, "--step", "7"], "--step 7: "),
    ):
        assert problem in error_of(["predict", *arguments], capsys)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_export_of_another_version_is_told_of(model, images, picture, capsys):
    (images / "a.jpg").write_bytes(picture)
    (model / "export.json").write_text('{"format_version": 1}')
    line = error_of(["predict", model, images], capsys)
    assert (
        "expected the origin of an exported model of format version 3, received version 1" in line
    )
    assert line.endswith("export it again")


def test_an_output_that_cannot_be_written_is_told_of_before_the_work(
    model, images, picture, tmp_path, monkeypatch, capsys
):
    (images / "a.jpg").write_bytes(picture)

    def load(model, top_k):
        raise AssertionError

    monkeypatch.setattr("manylabel.pipeline.predict._load", load)
    output = tmp_path / "labels.parquet"
    output.mkdir()
    line = error_of(["predict", model, images, "--output", output], capsys)
    assert line == f"error: {output}: expected a file to write, received a folder"


def test_the_command_tells_what_it_did(model, images, picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg", "c.txt", "d.\x1b[2J", "e"):
        (images / name).write_bytes(picture if name < "b" else b"text")
    assert cli.run(["predict", str(model), "images"]) == 0
    first, *others = capsys.readouterr().out.splitlines()[-3:]
    assert first.startswith(f"labels.parquet: labels of 1 image by {model}, in 0 s (")
    assert others == [
        "1 could not be seen, `fault` says why; the first is b.jpg: not an image of a known "
        "format: expected one of JPEG, PNG, WEBP, GIF, BMP, received text that begins 'text'; "
        "copy or download it again; convert it to one "
        "of them",
        "left out 3 other files: .\\x1b[2j 1, .txt 1, no suffix 1",
    ]
    assert cli.run(["predict", str(model), "images/a.jpg", "--output", "a.csv"]) == 0
    assert capsys.readouterr().out.splitlines()[-3:-1] == [" 0.750  sky", " 0.500  sea"]
    assert Path("a.csv").read_text() == (
        "image_path,label,score,rank,fault\na.jpg,sky,0.75,1,\na.jpg,sea,0.5,2,\n"
    )
