"""Whole jobs: whatever the input, images listed = written + rejected + duplicates."""

import csv
import io

import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.progress import Meter
from manylabel.preprocessing.rejections import LABEL_REASONS
from manylabel.preprocessing.verification import verify
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import StorageError
from manylabel.storage.schema import SplitName
from tests.fuzz._damage import damaged
from tests.fuzz._datasets import config_of, picture, write
from tests.fuzz._target import ACCEPTED, Target, check_line, fuzz, refused
from tests.fuzz.test_images import SOUND as PICTURES

pytestmark = pytest.mark.slow

NAMES = ("a.jpg", "b.png", "c/d.webp", "é.gif", "e.bmp")
PATHS = (
    *NAMES,
    "./a.jpg",
    "c/../b.png",
    "../x",
    "/etc/passwd",
    "",
    " ",
    "missing.jpg",
    "c",
    "a.jpg/b",
    "\0",
    "x" * 5000,
    "http://x/y.jpg",
    "a\\b.png",
    "e\u0301.gif",
)
LABELS = ("cat", "dog", "owl", " cat ", "", "é", "e\u0301", "x" * 3000, "\0", "a,b", "a\nb")
CONFIDENCES = ("1", "1", "1", "0", "0.5", "1.5", "nan", "", "-0", "1e-400")


def _csv(rows):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("image_path", "label", "confidence"), *rows])
    return file.getvalue().encode()


_rows = st.lists(
    st.tuples(
        st.sampled_from((*NAMES, *PATHS)),
        st.sampled_from(LABELS[:4]) | st.sampled_from(LABELS),
        st.sampled_from(CONFIDENCES),
    ),
    min_size=1,
    max_size=20,
)
_files = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from(PICTURES) | damaged(PICTURES), max_size=len(NAMES)
)
SOUND_ROWS = [(name, label, "1") for name in NAMES for label in ("cat", "dog")]
SOUND_FILES = {name: picture(number) for number, name in enumerate(NAMES)}
CASES = st.tuples(_rows.map(_csv) | damaged([_csv(SOUND_ROWS)]), _files)
SOUND = [(_csv(SOUND_ROWS), SOUND_FILES)]


def check(case, folder):
    data, files = case
    write(folder / "in", {**files, "labels.csv": data})
    output = folder / "out"
    config = config_of(folder / "in" / "labels.csv")
    try:
        report = preprocess(config, str(output))
    except (PreprocessingError, StorageError) as error:
        assert not (output / "manifest.json").exists()
        return refused(error)
    for doubt in (*report.label_doubts, *report.path_doubts):
        check_line(doubt)
    counts = report.counts
    assert counts.listed == counts.written + counts.rejected + counts.duplicates
    dataset = Dataset.open(output)
    written = [image.image_id for split in SplitName for image in dataset.iterate(split)]
    rejected = pq.read_table(output / "rejected.parquet").to_pylist()
    of_images = [row["image_id"] for row in rejected if row["reason"] not in LABEL_REASONS]
    duplicates = pq.read_table(output / "duplicates.parquet").column("image_id").to_pylist()
    found = [len(written), len(of_images), len(duplicates)]
    assert found == [counts.written, counts.rejected, counts.duplicates]
    assert len({*written, *of_images, *duplicates}) == counts.listed
    for row in rejected:
        check_line(row["detail"])
    assert not verify(dataset, Meter())
    assert preprocess(config, str(output)).nothing_to_do
    return ACCEPTED


TARGET = Target("jobs", CASES, check, most_bytes=256 << 20)


def test_jobs(tmp_path):
    fuzz(TARGET, tmp_path / "case", 3, sound=SOUND)
