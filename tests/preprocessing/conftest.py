"""Small catalogs of real image files."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEADER = ("image_path", "label", "confidence")


@pytest.fixture(scope="session")
def picture():
    """Makes the bytes of a picture that looks like no other seed's."""

    def make(seed, size=(60, 50), format_="PNG"):
        coarse = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file, format_)
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def write_csv():
    def write(path, rows, header=HEADER):
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return path

    return write


@pytest.fixture(scope="session")
def openclipart_odd():
    """The three oversized and elongated originals that the project ships."""
    directory = Path(__file__).parents[2] / "examples" / "openclipart" / "odd"
    assert directory.is_dir(), f"{directory} is missing from the checkout"
    return directory


@pytest.fixture(scope="session")
def dataset_bytes():
    """Reads all files of a dataset that hold images or labels: what must be the same for ever."""

    def read(root):
        patterns = (
            "train/*",
            "heldout/*",
            "labels.parquet",
            "rejected.parquet",
            "duplicates.parquet",
        )
        paths = sorted(path for pattern in patterns for path in Path(root).glob(pattern))
        return {str(path.relative_to(root)): path.read_bytes() for path in paths}

    return read
