"""Thumbnails: the right image, small, encoded anew, kept by browsers."""

import io

import pytest
from PIL import Image

from manylabel.deploy.dashboard import thumbnails
from manylabel.deploy.dashboard.thumbnails import heldout_image, thumbnail
from manylabel.storage.errors import CorruptRecordError, DatasetError, TableError


@pytest.fixture
def dataset(folder):
    return folder.make_dataset(side=400)


def test_a_row_gives_its_own_image_reduced(dataset):
    for row in (0, 5, 23):
        record = heldout_image(dataset, row)
        assert record.image_id == f"images/{row:03d}.jpg"
        small = Image.open(io.BytesIO(thumbnail(dataset, row, 160)))
        assert (small.format, small.size) == ("JPEG", (160, 160))
        original = Image.open(io.BytesIO(record.encoded)).resize((1, 1)).getpixel((0, 0))
        assert small.resize((1, 1)).getpixel((0, 0)) == pytest.approx(original, abs=4)


def test_small_images_are_not_enlarged(dataset):
    assert Image.open(io.BytesIO(thumbnail(dataset, 0, 640))).size == (400, 400)


@pytest.mark.parametrize("row", [-1, 24, 10**9])
def test_a_row_that_is_not_there_is_told(dataset, row):
    with pytest.raises(DatasetError, match="expected a held-out image of 0 to 23"):
        thumbnail(dataset, row)


def test_too_many_pixels_are_refused_before_they_are_decoded(dataset, monkeypatch):
    monkeypatch.setattr(thumbnails, "_MOST_PIXELS", 400 * 400 - 1)
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DatasetError, match="expected at most"):
        thumbnail(dataset, 0)


def test_only_jpeg_is_opened(dataset, monkeypatch):
    png = io.BytesIO()
    Image.new("RGB", (9, 9)).save(png, "PNG")
    record = heldout_image(dataset, 0)
    monkeypatch.setattr(
        thumbnails,
        "heldout_image",
        lambda *_: type(record)(record.image_id, png.getvalue(), 9, 9, (), ()),
    )
    with pytest.raises(DatasetError, match="not a readable JPEG"):
        thumbnail(dataset, 0)


def test_damage_is_told_by_what_is_damaged(dataset, lfs_pointer):
    shard = dataset.root / "heldout" / "heldout-00000-of-00001.tfrecord"
    data = bytearray(shard.read_bytes())
    data[40] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(CorruptRecordError):
        thumbnail(dataset, 0)
    shard.write_bytes(lfs_pointer)
    with pytest.raises(DatasetError, match="expected a shard, received a Git LFS pointer"):
        thumbnail(dataset, 5)
    shard.unlink()
    with pytest.raises(DatasetError, match="no such shard"):
        thumbnail(dataset, 1)
    (dataset.root / "heldout_images.parquet").write_bytes(b"")
    thumbnails._read_heldout_images.cache_clear()
    with pytest.raises(TableError):
        thumbnail(dataset, 1)


def test_browsers_keep_a_thumbnail_by_its_tag(client, filled):
    browser = client()
    first = browser.get("/thumbnails/run-a/3.jpg")
    assert first.status_code == 200
    assert first.headers["content-type"] == "image/jpeg"
    tag = first.headers["etag"]
    assert browser.get("/thumbnails/run-a/3.jpg", headers={"if-none-match": tag}).status_code == 304
    assert browser.get("/thumbnails/run-a/4.jpg", headers={"if-none-match": tag}).status_code == 200
    assert browser.get("/thumbnails/run-a/3.jpg?size=320").headers["etag"] != tag


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/thumbnails/run-a/999.jpg", 404),
        ("/thumbnails/nobody/0.jpg", 404),
        ("/thumbnails/..%2f..%2fx/0.jpg", 404),
        ("/thumbnails/run-a/-1.jpg", 404),
        ("/thumbnails/run-a/0.jpg?size=99999", 400),
        ("/thumbnails/other-set/0.jpg", 404),  # Its dataset is not what is there now.
    ],
)
def test_what_is_not_there_is_told(client, filled, address, status):
    assert client().get(address).status_code == status
