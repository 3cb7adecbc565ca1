"""Tars of samples: damaged headers, with checksums made right again, and odd files of labels."""

import io
import json
import tarfile
from typing import Any

from hypothesis import strategies as st
from upath import UPath

from manylabel.preprocessing.pictures.checking import check_image
from manylabel.storage.image_policy import ImageConfig
from tests.fuzz._catalogs import read_catalog
from tests.fuzz._damage import damaged
from tests.fuzz._datasets import picture
from tests.fuzz._edits import edited_json
from tests.fuzz._target import ACCEPTED, Target, check_line, fuzz

BLOCK = 512


def tar_of(files, format_=tarfile.GNU_FORMAT):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=format_) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


def linked():
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in (("a.png", picture(1)), ("a.cls", b"3")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, type_, target in (
            ("b.png", tarfile.SYMTYPE, "a.png"),
            ("b.cls", tarfile.LNKTYPE, "a.cls"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = type_, target
            tar.addfile(info)
    return made.getvalue()


JSON = {"label": ["cat", {"name": "dog"}], "caption": "a", "width": 3}
SAMPLES = [
    ("0.png", picture(0)),
    ("0.cls", b"3"),
    ("n01/1.png", picture(1)),
    ("n01/1.txt", b"cat\ndog\n"),
    ("2.png", picture(2)),
    ("2.json", json.dumps({"label": ["cat", "dog"]}).encode()),
    ("x" * 150 + ".png", picture(3)),
    ("x" * 150 + ".cls", b"1"),
]
FILES = [
    tar_of(SAMPLES),
    tar_of(SAMPLES[:4], tarfile.PAX_FORMAT),
    tar_of([("é" * 60 + ".png", picture(4)), ("é" * 60 + ".cls", b"1")], tarfile.PAX_FORMAT),
    tar_of(SAMPLES[:2], tarfile.USTAR_FORMAT),
    linked(),
]
WORDS = (
    b"ustar\000",
    b"ustar  \0",
    b"L",
    b"x",
    b"g",
    b"S",
    b"\x80",
    b"30 path=../../x\n",
    b"\0" * 512,
)


def with_checksums(data):
    """Of each block that may be a header, so that what was changed in it is read."""
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    return b"".join(_summed(block) if block[257:262] == b"ustar" else block for block in blocks)


def _summed(block):
    if len(block) < BLOCK:
        return block
    total = sum(block[:148]) + sum(block[156:]) + 8 * ord(" ")
    return block[:148] + b"%06o\0 " % total + block[156:]


_labels = (
    edited_json([JSON])
    | st.binary(max_size=30)
    | st.sampled_from((b"", b"-1", b"9" * 5000, b"1.5", b"\xff", b"[1, 2]", b"nan", b"a" * 5000))
)
_made = st.builds(
    lambda labels, end: tar_of([("0.png", picture(0)), (f"0.{end}", labels), *SAMPLES[2:4]]),
    _labels,
    st.sampled_from(("json", "cls", "txt", "cls2", "jsonl")),
)
SETTINGS = st.sampled_from(
    [
        {},
        {"webdataset": {"label_key": "label"}},
        {"webdataset": {"labels": "json"}},
        {"webdataset": {"labels": "txt"}, "label_separator": "|"},
    ]
)
CASES = st.tuples(
    damaged(FILES, WORDS) | damaged(FILES, WORDS).map(with_checksums) | _made, SETTINGS
)
SOUND: list[Any] = [(data, {}) for data in FILES]


def check(case, folder):
    data, settings = case
    verdict, rows = read_catalog("samples.tar", data, settings, folder)
    if verdict == ACCEPTED:
        for image_id in {row[0] for row in rows}:
            facts = check_image(image_id, UPath(folder), ImageConfig())
            if facts.detail is not None:
                check_line(facts.detail)
    return verdict


TARGET = Target("tars", CASES, check)


def test_tars(tmp_path):
    fuzz(TARGET, tmp_path / "case", 80, sound=SOUND)
