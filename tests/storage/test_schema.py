"""Records against TensorFlow's own message types, both ways."""

import pytest
import tensorflow as tf

from manylabel.storage.errors import DatasetError
from manylabel.storage.schema import LabelledImage, decode_example, encode_example

IMAGE = LabelledImage(
    image_id="animals/żółw 🐢.jpg",
    encoded=b"\xff\xd8\x00bytes",
    height=7,
    width=5,
    label_ids=(0, 3, 2**40),
    confidences=(1.0, 0.5, 0.25),
    negative_ids=(1, 9),
)


def test_tensorflow_reads_what_we_write():
    parsed = tf.io.parse_single_example(
        encode_example(IMAGE),
        {
            "image/encoded": tf.io.FixedLenFeature([], tf.string),
            "image/id": tf.io.FixedLenFeature([], tf.string),
            "image/height": tf.io.FixedLenFeature([], tf.int64),
            "image/width": tf.io.FixedLenFeature([], tf.int64),
            "label/ids": tf.io.RaggedFeature(tf.int64),
            "label/confidences": tf.io.RaggedFeature(tf.float32),
            "label/negative_ids": tf.io.RaggedFeature(tf.int64),
        },
    )
    assert parsed["image/encoded"].numpy() == IMAGE.encoded
    assert parsed["image/id"].numpy().decode() == IMAGE.image_id
    assert (parsed["image/height"].numpy(), parsed["image/width"].numpy()) == (7, 5)
    assert parsed["label/ids"].numpy().tolist() == [0, 3, 2**40]
    assert parsed["label/confidences"].numpy().tolist() == [1.0, 0.5, 0.25]
    assert parsed["label/negative_ids"].numpy().tolist() == [1, 9]


def test_we_read_what_tensorflow_writes():
    def int64(*values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def raw(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    example = tf.train.Example(
        features=tf.train.Features(
            feature={
                "image/encoded": raw(IMAGE.encoded),
                "image/id": raw(IMAGE.image_id.encode()),
                "image/height": int64(7),
                "image/width": int64(5),
                "label/ids": int64(0, 3, 2**40),
                "label/confidences": tf.train.Feature(
                    float_list=tf.train.FloatList(value=[1.0, 0.5, 0.25])
                ),
                "label/negative_ids": int64(1, 9),
            }
        )
    )
    assert decode_example(example.SerializeToString()) == IMAGE
    assert encode_example(IMAGE) == example.SerializeToString(deterministic=True)


def test_negatives_are_left_out_when_there_are_none():
    image = LabelledImage("a.jpg", b"x", 1, 1, (), ())
    data = encode_example(image)
    assert b"negative" not in data
    assert decode_example(data) == image


def test_labels_without_confidences_are_refused():
    with pytest.raises(ValueError, match="2 label ids and 1 confidences"):
        encode_example(LabelledImage("a.jpg", b"x", 1, 1, (1, 2), (1.0,)))


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"", tf.train.Example().SerializeToString()])
def test_what_is_not_a_record_is_refused(data):
    with pytest.raises(DatasetError, match="expected"):
        decode_example(data)


def test_a_name_that_is_no_text_is_refused():
    record = encode_example(LabelledImage("name.jpg", b"x", 1, 1, (), ()))
    with pytest.raises(DatasetError, match=r"'image/id': expected UTF-8, received b'\\xffame.jpg'"):
        decode_example(record.replace(b"name.jpg", b"\xffame.jpg"))
