"""Framing against TensorFlow's reader and writer, and damage of every kind."""

import io
import pickle

import pytest
import tensorflow as tf

from manylabel.storage.errors import CorruptRecordError
from manylabel.storage.tfrecord import (
    frame,
    iterate_records,
    read_first_record,
    read_record,
    write_record,
)

PAYLOADS = [b"", b"one", bytes(range(256)) * 5]


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "ours.tfrecord"
    with path.open("wb") as file:
        sizes = [write_record(file, payload) for payload in PAYLOADS]
    assert sizes == [len(payload) + 16 for payload in PAYLOADS]
    return path


def test_tensorflow_reads_what_we_write(written):
    assert list(tf.data.TFRecordDataset(str(written)).as_numpy_iterator()) == PAYLOADS


def test_same_bytes_as_tensorflow(written, tmp_path):
    theirs = tmp_path / "theirs.tfrecord"
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for payload in PAYLOADS:
            writer.write(payload)
    assert theirs.read_bytes() == written.read_bytes()
    assert list(iterate_records(theirs)) == PAYLOADS


def test_records_are_read_at_their_offset(written):
    data = written.read_bytes()
    offset = 0
    for payload in PAYLOADS:
        assert read_record(data, offset) == payload
        assert read_record(memoryview(data), offset) == payload
        offset += len(payload) + 16


@pytest.mark.parametrize("position", range(len(frame(b"payload"))))
def test_any_changed_byte_is_found(position, tmp_path):
    good = frame(b"first")
    bad = bytearray(frame(b"payload"))
    bad[position] ^= 0x10
    path = tmp_path / "bad.tfrecord"
    path.write_bytes(good + bytes(bad))

    with pytest.raises(CorruptRecordError) as error:
        read_record(path.read_bytes(), len(good), str(path))
    assert (error.value.path, error.value.offset) == (str(path), len(good))

    records = iterate_records(path)
    assert next(records) == b"first"
    with pytest.raises(CorruptRecordError) as error:
        next(records)
    assert (error.value.path, error.value.offset) == (str(path), len(good))


@pytest.mark.parametrize("kept", range(1, len(frame(b"payload"))))
def test_a_cut_file_is_found(kept, tmp_path):
    path = tmp_path / "cut.tfrecord"
    path.write_bytes(frame(b"payload")[:kept])
    with pytest.raises(CorruptRecordError, match="ends in the"):
        list(iterate_records(path))
    with pytest.raises(CorruptRecordError, match="ends in the"):
        read_record(path.read_bytes(), 0)


@pytest.mark.parametrize("length", [2**36, 2**64 - 1])
def test_a_length_takes_no_memory_before_its_bytes_are_there(length, tmp_path):
    """Its checksum is right; nothing else follows."""
    data = length.to_bytes(8, "little")
    header = data + frame(data)[-4:]
    (tmp_path / "long.tfrecord").write_bytes(header + b"few")
    with pytest.raises(CorruptRecordError, match=rf"payload \(3 of {length + 4} bytes\)"):
        list(iterate_records(tmp_path / "long.tfrecord"))
    with pytest.raises(CorruptRecordError, match="ends in the payload"):
        read_first_record(io.BytesIO(header), 2**64)


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(CorruptRecordError("a.tfrecord", 12, "why")))
    assert (error.path, error.offset, error.detail) == ("a.tfrecord", 12, "why")
    assert str(error) == "a.tfrecord: corrupt record at byte 12: why"


def test_write_record_goes_to_any_binary_file():
    file = io.BytesIO()
    write_record(file, b"x")
    assert file.getvalue() == frame(b"x")
