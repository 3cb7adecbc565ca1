"""Bytes of TFRecord files: a changed byte is never read as a record, and verification names it."""

import json
import struct
from pathlib import Path

import google_crc32c
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from manylabel.preprocessing.progress import Meter
from manylabel.preprocessing.verification import verify
from manylabel.storage.dataset import Dataset
from manylabel.storage.documents import sha256_of
from manylabel.storage.errors import DatasetError, StorageError
from manylabel.storage.manifest import SplitShards, content_digest
from manylabel.storage.schema import (
    INDEX_SCHEMA,
    INDEX_SHARD_DIGEST,
    LabelledImage,
    SplitName,
    decode_example,
    encode_example,
)
from manylabel.storage.tfrecord import frame, read_record
from manylabel.trainer.records.reader import RecordReader
from tests.fuzz._damage import damaged
from tests.fuzz._datasets import read_all, sound_dataset, write
from tests.fuzz._tables import to_parquet
from tests.fuzz._target import ACCEPTED, Target, fuzz, refused

pytestmark = pytest.mark.slow

FILES = sound_dataset()
SHARDS = sorted(path for path in FILES if path.endswith(".tfrecord"))


def payloads_of(data):
    found, place = [], 0
    while place < len(data):
        found.append(read_record(data, place))
        place += len(found[-1]) + 16
    return found


INTACT = [payload for path in SHARDS for payload in payloads_of(FILES[path])]
_ids = st.text(max_size=8) | st.sampled_from(("0.png", "\0", "a\nb", "../x", "x" * 5000))
_numbers = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 5), max_size=4)


@st.composite
def _examples(draw):
    ids = tuple(draw(_numbers))
    confidences = tuple(draw(st.floats(width=32)) for _ in ids)
    encoded = draw(st.binary(max_size=20))
    side = st.integers(-(2**63), 2**63 - 1)
    return encode_example(
        LabelledImage(
            draw(_ids), encoded, draw(side), draw(side), ids, confidences, tuple(draw(_numbers))
        )
    )


def header(length):
    """Of a record that is not there, with its checksum."""
    data = struct.pack("<Q", length)
    crc = google_crc32c.value(data)
    return data + struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


_end = st.sampled_from((b"", b"", header(0), header(2**31), header(2**40), header(2**64 - 1)))
_made = st.builds(
    lambda payloads, end: b"".join([*map(frame, payloads), end]),
    st.lists(damaged(INTACT) | _examples() | st.sampled_from(INTACT), max_size=5),
    _end,
)
# Path, bytes, and whether the manifest and the index say that they are right.
CASES = st.tuples(
    st.sampled_from(SHARDS), damaged([FILES[path] for path in SHARDS]), st.booleans()
) | st.tuples(st.sampled_from(SHARDS), _made, st.just(True))


def check(case, folder):
    path, data, is_listed = case
    files = FILES | {path: data}
    write(folder, listed(files, path) if is_listed else files)
    if data == FILES[path]:
        assert read_all(folder) == ACCEPTED
        return ACCEPTED
    if not is_listed:
        assert path in {damage.path for damage in verify(Dataset.open(folder), Meter())}
        try:
            assert set(read_records(folder, path)) <= {*INTACT, None}
        except StorageError as error:
            refused(error)
    return read_all(folder)


def listed(files, path):
    """With a manifest and an index that say that these are the bytes of the shard."""
    data = files[path]
    rows = rows_of(data)
    manifest = json.loads(files["manifest.json"])
    shards = {each["path"]: each for side in manifest["splits"].values() for each in side["shards"]}
    shards[path] |= {"bytes": len(data), "records": len(rows), "sha256": sha256_of(data)}
    for side in manifest["splits"].values():
        side["records"] = sum(shard["records"] for shard in side["shards"])
    splits = {name: SplitShards.model_validate(each) for name, each in manifest["splits"].items()}
    manifest["content_digest"] = content_digest(splits, manifest["labels_digest"])
    names = dict(split=path.split("/")[0], shard=Path(path).stem)
    index = pa.Table.from_pylist([names | row for row in rows], INDEX_SCHEMA)
    index = index.replace_schema_metadata({INDEX_SHARD_DIGEST: shards[path]["sha256"]})
    return files | {
        shards[path]["index_path"]: to_parquet(index),
        "manifest.json": json.dumps(manifest).encode(),
    }


def rows_of(data):
    """Of an index: a record wherever one may begin, whatever it holds."""
    rows, place = [], 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 8], "little")
        length = max(0, min(length, len(data) - place - 16))
        try:
            image = decode_example(data[place + 12 : place + 12 + length])
            image_id, label_ids = image.image_id, list(image.label_ids)
        except DatasetError:
            image_id, label_ids = "?", []
        place_of_row = {"byte_offset": place, "byte_length": length}
        rows.append(place_of_row | {"image_id": image_id, "label_ids": label_ids})
        place += length + 16
    return rows


def read_records(folder, path):
    """What a worker of the training reads of a shard."""
    dataset = Dataset.open(folder)
    split = SplitName(path.split("/")[0])
    (number,) = (n for n, each in enumerate(dataset.split(split).shards) if each.path == path)
    with RecordReader(dataset, split) as reader:
        return [
            reader.read(number, record).payload
            for record in range(dataset.split(split).shards[number].records)
        ]


SOUND = [(path, FILES[path], False) for path in SHARDS]
TARGET = Target("shards", CASES, check)


def test_shards(tmp_path):
    fuzz(TARGET, tmp_path / "case", 35, sound=SOUND)
