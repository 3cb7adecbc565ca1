"""One catalog with everything that goes wrong in one; the job finishes and says what it did."""

import io
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.rejections import LABEL_REASONS, RejectReason
from manylabel.storage.dataset import Dataset

pytestmark = pytest.mark.slow

ODD_LABELS = ["with, comma", 'with "quotes"', "emoji 🐢", "x" * 10_000]

REJECTED = {
    "missing.jpg": RejectReason.MISSING_FILE,
    "empty.jpg": RejectReason.EMPTY_FILE,
    "truncated.jpg": RejectReason.UNDECODABLE,
    "text.jpg": RejectReason.NOT_AN_IMAGE,
    "../outside.png": RejectReason.BAD_PATH,
    "/etc/passwd": RejectReason.BAD_PATH,
    "link.png": RejectReason.BAD_PATH,
    "no-label.png": RejectReason.NO_LABEL,
    "only-absent.png": RejectReason.NO_LABEL,
    "only-bad.png": RejectReason.NO_LABEL,
    "kde.png": RejectReason.TOO_LONG,
    "milk_mateya_01.png": RejectReason.TOO_MANY_PIXELS,
    "stop_sign_miguel_s_nchez_.png": RejectReason.TOO_MANY_PIXELS,
}
ACCEPTED = [
    "cmyk.jpg",
    "grey16.png",
    "palette.png",
    "grey-alpha.png",
    "twice.png",
    "odd-labels.png",
]


def save(directory, name, image, **options):
    image.save(directory / name, **options)


@pytest.fixture
def images(tmp_path, picture, openclipart_odd):
    directory = tmp_path / "images"
    directory.mkdir()
    colour = [Image.open(io.BytesIO(picture(seed))) for seed in range(4)]
    save(directory, "cmyk.jpg", colour[0].convert("CMYK"))
    save(directory, "palette.png", colour[1].quantize(16), transparency=3)
    save(directory, "grey-alpha.png", colour[2].convert("LA"))
    wide = np.linspace(0, 65535, 60 * 50).reshape(50, 60).astype(np.uint16)
    save(directory, "grey16.png", Image.fromarray(wide))
    for seed, name in enumerate(("no-label", "only-absent", "only-bad", "twice", "odd-labels"), 10):
        (directory / f"{name}.png").write_bytes(picture(seed))
    (directory / "copy-of-twice.png").write_bytes(picture(13))
    (directory / "empty.jpg").touch()
    (directory / "text.jpg").write_text("I am text, whatever my name says.\n")
    (directory / "truncated.jpg").write_bytes(picture(20, format_="JPEG")[:-200])
    (tmp_path / "outside.png").write_bytes(picture(21))
    (directory / "link.png").symlink_to(tmp_path / "outside.png")
    for path in openclipart_odd.iterdir():
        shutil.copy(path, directory)
    return directory


@pytest.fixture
def catalog(tmp_path, images, write_csv):
    simple = [name for name in (*REJECTED, *ACCEPTED) if "only" not in name and name[:3] != "no-"]
    rows = [(name, "thing", "1") for name in simple]
    rows += [
        ("no-label.png", "", "1"),
        ("only-absent.png", "thing", "0"),
        ("only-bad.png", "thing", "nan"),
        ("./twice.png", "other spelling", "1"),
        ("copy-of-twice.png", "equal file", "1"),
        ("palette.png", "beyond", "1.5"),
        ("palette.png", "not finite", "inf"),
        ("palette.png", "  ", "1"),
        *(("odd-labels.png", label, "1") for label in ODD_LABELS),
    ]
    return write_csv(tmp_path / "labels.csv", rows)


def test_everything_is_counted(tmp_path, images, catalog):
    config = PreprocessingConfig.model_validate(
        {"catalog": {"path": str(catalog), "image_root": str(images)}, "heldout": {"size": 0}}
    )
    report = preprocess(config, str(tmp_path / "dataset"))

    rows = pq.read_table(tmp_path / "dataset" / "rejected.parquet").to_pylist()
    assert all(row["detail"] for row in rows)
    label_rows = [row for row in rows if row["reason"] in LABEL_REASONS]
    assert {row["image_id"]: row["reason"] for row in rows if row not in label_rows} == REJECTED
    assert sorted((row["image_id"], row["reason"]) for row in label_rows) == [
        ("only-bad.png", RejectReason.BAD_CONFIDENCE),
        ("palette.png", RejectReason.BAD_CONFIDENCE),
        ("palette.png", RejectReason.BAD_CONFIDENCE),
        ("palette.png", RejectReason.EMPTY_LABEL),
    ]
    assert sum(report.rejected.values()) == len(rows)

    duplicates = pq.read_table(tmp_path / "dataset" / "duplicates.parquet").to_pylist()
    assert duplicates == [
        {"image_id": "./twice.png", "kept_image_id": "twice.png"},
        {"image_id": "twice.png", "kept_image_id": "copy-of-twice.png"},
    ]

    counts = report.counts
    assert (counts.written, counts.rejected, counts.duplicates) == (len(ACCEPTED), len(REJECTED), 2)
    assert counts.listed == counts.written + counts.rejected + counts.duplicates

    dataset = Dataset.open(report.dataset)
    names = dataset.label_names()
    written = {image.image_id: image for image in dataset.iterate("train")}
    labels = {key: [names[i] for i in image.label_ids] for key, image in written.items()}
    assert names == sorted(["thing", "other spelling", "equal file", *ODD_LABELS])
    assert labels["odd-labels.png"] == sorted(["thing", *ODD_LABELS])
    assert labels["palette.png"] == ["thing"]
    assert labels["copy-of-twice.png"] == ["equal file", "other spelling", "thing"]
    for image in written.values():
        stored = Image.open(io.BytesIO(image.encoded))
        assert (stored.format, stored.mode) == ("JPEG", "RGB")
        assert (stored.width, stored.height) == (image.width, image.height) == (60, 50)


def config_for(path, **settings):
    base = {"catalog": {"path": str(path)}, "executor": "inline"}
    return PreprocessingConfig.model_validate(base | settings)


def one_line(config, output):
    with pytest.raises(PreprocessingError) as error:
        preprocess(config, str(output))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_catalogs_that_cannot_be_read_leave_nothing_behind(tmp_path):
    output = tmp_path / "dataset"
    path = tmp_path / "labels.csv"
    for content, message in (
        (b"image_path,label,confidence\n", "the catalog is empty"),
        (b"", "received an empty file"),
        (b"image_path,label,confidence\na.jpg,caf\xe9,1\n", "expected UTF-8"),
        (b"image_path,confidence\na.jpg,1\n", "expected a column 'label'"),
    ):
        path.write_bytes(content)
        assert message in one_line(config_for(path), output)
    (tmp_path / "folder").mkdir()
    assert "the catalog is empty" in one_line(config_for(tmp_path / "folder"), output)
    assert "no such catalog" in one_line(config_for(tmp_path / "nowhere"), output)
    assert not output.exists()


def test_an_output_inside_the_catalog_folder_is_refused(tmp_path, picture):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "a.png").write_bytes(picture(0))
    assert "lies inside the catalog folder" in one_line(config_for(tmp_path), tmp_path / "out")


def test_a_catalog_of_which_nothing_is_left(tmp_path, write_csv):
    path = write_csv(tmp_path / "labels.csv", [("a.jpg", "cat|dog", 1), ("b.jpg", "cat", "x")])
    message = one_line(config_for(path), tmp_path / "dataset")
    assert "set preprocessing.catalog.label_separator to '|'" in message
    assert "no image is left to train on" in message
    assert "1 missing file" in message
    assert not (tmp_path / "dataset" / "manifest.json").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_a_file(tmp_path, picture, write_csv, overwrite):
    (tmp_path / "a.png").write_bytes(picture(0))
    path = write_csv(tmp_path / "labels.csv", [("a.png", "cat", 1)])
    with pytest.raises(PreprocessingError, match="expected a new or empty directory"):
        preprocess(config_for(path), str(path), overwrite=overwrite)
    assert path.read_text().startswith("image_path")


def test_an_output_that_no_worker_would_see(tmp_path, picture, write_csv):
    (tmp_path / "a.png").write_bytes(picture(0))
    path = write_csv(tmp_path / "labels.csv", [("a.png", "cat", 1)])
    message = one_line(config_for(path, executor="processes"), "memory://somewhere/dataset")
    assert "set preprocessing.executor to inline" in message
