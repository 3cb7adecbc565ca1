"""Pictures whose pixels are sound and whose metadata are not, and files made to do harm."""

import io
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from manylabel.pipeline.dataset_text import dataset_lines
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.pictures.images import examine, store
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.storage.image_policy import ImageConfig
from tests.preprocessing._odd_files import JPEG, PNG, TURNED, UPRIGHT, WEBP, encoded, photo, png

pytestmark = pytest.mark.slow

POLICY = ImageConfig(short_side_limit=32)


def small(image):
    """What is expected, [h, w, 3]."""
    return np.asarray(image.resize((48, 32), Image.Resampling.LANCZOS), int)


def shown(data):
    stored = store(data, POLICY)
    return np.asarray(Image.open(io.BytesIO(stored.encoded)).convert("RGB"), int)


@pytest.mark.parametrize("name", UPRIGHT)
def test_sound_pixels_are_stored_whatever_is_beside_them(name):
    difference = np.abs(shown(UPRIGHT[name]) - small(photo())).mean()
    assert difference < (8 if name.startswith("gif") else 3)
    assert examine(UPRIGHT[name], POLICY).perceptual_hash


@pytest.mark.parametrize("name", TURNED)
def test_an_orientation_that_can_be_read_is_applied(name):
    expected = small(photo()).transpose(1, 0, 2)[:, ::-1]
    found = shown(TURNED[name])
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 3


@pytest.mark.parametrize(
    ("data", "remark"),
    [
        (TURNED["jpeg: exif cut short"], "Corrupt EXIF data. Expecting"),
        (UPRIGHT["png: no frames"], "Invalid APNG, will use default PNG image if possible"),
        (UPRIGHT["png: profile of 5 MB"], "read without its metadata: ValueError: Decompressed"),
        (PNG, ""),
    ],
)
def test_what_is_odd_is_remarked(data, remark):
    remarks = examine(data, POLICY).remarks
    assert "; ".join(remarks).startswith(remark)
    assert bool(remarks) == bool(remark)


@pytest.mark.parametrize("data", [PNG[:-60], WEBP[:-20], JPEG[:-200], png(b"")[:40]])
def test_pixels_that_are_cut_short_are_still_a_reason(data):
    with pytest.raises(ImageRejectedError) as error:
        examine(data, POLICY)
    assert error.value.reason in (RejectReason.UNDECODABLE, RejectReason.NOT_AN_IMAGE)
    assert "metadata" not in error.value.detail


def test_threads_hear_their_own_warnings_and_leave_none_behind():
    odd, sound = TURNED["jpeg: exif cut short"], JPEG
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = [*warnings.filters], warnings.showwarning
        with ThreadPoolExecutor(4) as pool:
            found = [*pool.map(lambda data: examine(data, POLICY).remarks, [odd, sound] * 100)]
        assert ([*warnings.filters], warnings.showwarning) == before
    assert [bool(remarks) for remarks in found] == [True, False] * 100


def progressive(scans):
    """Its last scan again and again: each says nothing new, in some bytes."""
    data = encoded("JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + data[-2:]


def test_a_jpeg_of_very_many_scans_is_not_decoded():
    store(progressive(100), POLICY)
    with pytest.raises(ImageRejectedError, match="at most 100 scans") as error:
        examine(progressive(101), POLICY)
    assert error.value.reason is RejectReason.UNDECODABLE


def test_too_little_memory_names_its_image(tmp_path):
    """The room that a process of its own may take is bounded for real."""
    Image.new("P", (8000, 6000)).save(tmp_path / "a large one.png")
    script = f"""
import resource
from upath import UPath
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.pictures.checking import check_image
from manylabel.storage.image_policy import ImageConfig
from tests.preprocessing._odd_files import JPEG, PNG, TURNED, UPRIGHT, WEBP, encoded, photo, png
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + 100_000_000
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    print(check_image("a large one.png", UPath({str(tmp_path)!r}), ImageConfig()))
except PreprocessingError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith(
        "a large one.png: expected memory for its pixels, received too little; "
    )


def test_a_job_counts_odd_files_and_shows_no_warning(tmp_path, capfd):
    files = {"whole.png": PNG, "cut.jpg": TURNED["jpeg: exif cut short"], "b.png": PNG[:-60]}
    files["text.png"] = UPRIGHT["png: text of 5 MB, packed"]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    rows = ["image_path,label", *(f"{name},a" for name in files)]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    config = PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(tmp_path / "labels.csv"), "confidence_column": None},
            "heldout": {"size": 0, "duplicate_distance": None},
            "images": {"short_side_limit": 32},
            "executor": "inline",
        }
    )
    report = preprocess(config, str(tmp_path / "output" / "dataset"))
    captured = capfd.readouterr()
    assert "Warning" not in captured.out + captured.err
    assert report.counts.written == 3
    assert report.rejected == {RejectReason.UNDECODABLE: 1}
    assert report.remarks.images == 2
    (line,) = [line for line in dataset_lines(report) if "odd metadata" in line]
    expected = "odd metadata, pixels kept: 2 images, the first cut.jpg: Corrupt EXIF data. "
    assert line.startswith(expected)
