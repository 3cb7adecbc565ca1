"""Every position of the stream comes out once, whatever lies on disk."""

import threading
from itertools import count

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from manylabel.storage.errors import CorruptRecordError, DatasetError
from manylabel.storage.schema import SplitName, encode_example
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.records.augment import evaluation_image
from manylabel.trainer.records.batches import evaluation_batches, training_batches
from manylabel.trainer.records.config import InputConfig
from manylabel.trainer.records.order import RecordOrder
from manylabel.trainer.records.reader import BadRecordReport

pytestmark = pytest.mark.slow

PLAIN = {
    "view": {"name": "central"},
    "flip": False,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
}
SIZE = 16


def config(**fields):
    return InputConfig(**{"batch_size": 4, "augmentation": PLAIN, **fields})


def order_of(dataset, settings):
    sizes = [shard.records for shard in dataset.split("train").shards]
    return RecordOrder(sizes, settings.seed, settings.shuffle_block, settings.shuffle_mix)


def run(dataset, ranges, settings=None, on_bad=None):
    """The batches as NumPy values, and the reports."""
    settings = settings or config()
    bad: list[BadRecordReport] = []
    order = order_of(dataset, settings)
    batches = training_batches(ranges, order, dataset, settings, SIZE, on_bad or bad.append)
    return [
        (images.numpy(), tuple(part.numpy() for part in labels), positions)
        for images, labels, positions in batches
    ], bad


def flip_byte(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.fixture
def images(labelled_image):
    """Eleven images in three shards; image n has n % 4 labels."""
    made = [
        labelled_image(n, tuple(range(n % 10, n % 10 + n % 4))[: 10 - n % 10]) for n in range(11)
    ]
    return [made[:5], made[5:6], made[6:]]


def test_batches_hold_the_records_of_their_positions(write_dataset, images):
    dataset = write_dataset(train=images)
    settings = config(seed=3, shuffle_block=2, shuffle_mix=2)
    batches, bad = run(dataset, [(0, 7), (7, 8), (8, 22)], settings)
    assert bad == []
    assert [len(positions) for _, _, positions in batches] == [4, 4, 4, 4, 4, 2]
    assert np.concatenate([positions for _, _, positions in batches]).tolist() == list(range(22))
    _, shards, records = order_of(dataset, settings).locate(0, 22)
    for pixels, (rows, classes, confidences), positions in batches:
        assert pixels.dtype == np.float32
        for row, position in enumerate(positions):
            expected = images[shards[position]][records[position]]
            view = evaluation_image(tf.constant(expected.encoded), SIZE, settings.framing)
            np.testing.assert_array_equal(pixels[row], view)
            assert tuple(classes[rows == row]) == expected.label_ids
            np.testing.assert_allclose(confidences[rows == row], expected.confidences, rtol=1e-6)


def test_verified_absences_come_with_confidence_0(write_dataset, labelled_image):
    present, absent = [(1, 4), (), (7,)], [(0, 9), (3,), ()]
    images = [
        _with(labelled_image(number, labels), negative_ids=negatives)
        for number, (labels, negatives) in enumerate(zip(present, absent, strict=True))
    ]
    dataset = write_dataset(train=[images])
    [(_, (rows, classes, confidences), positions)], bad = run(dataset, [(0, 3)])
    assert bad == []
    _, _, records = order_of(dataset, config()).locate(0, 3)
    for row, position in enumerate(positions):
        image = images[records[position]]
        assert tuple(classes[rows == row]) == (*image.label_ids, *image.negative_ids)
        expected = (*image.confidences, *[0] * len(image.negative_ids))
        np.testing.assert_allclose(confidences[rows == row], expected, rtol=1e-6)


def test_the_pipeline_may_start_at_every_position(write_dataset, images):
    dataset = write_dataset(train=images)
    settings = config(batch_size=22, augmentation={})
    [(whole, _, _)], _ = run(dataset, [(0, 22)], settings)
    for start in range(0, 22, 3):
        [(rest, _, positions)], _ = run(dataset, [(start, 22)], settings)
        assert positions.tolist() == list(range(start, 22))
        np.testing.assert_array_equal(rest, whole[start:])


def test_a_corrupt_record_is_reported_in_its_place_and_the_rest_comes_out(write_dataset, images):
    dataset = write_dataset(train=images)
    shard = dataset.split("train").shards[2]
    offset = dataset.read_index(shard)["byte_offset"][1].as_py()
    flip_byte(dataset.path(shard.path), offset + 100)
    batches, bad = run(dataset, [(0, 11)])
    _, shards, records = order_of(dataset, config()).locate(0, 11)
    [position] = np.flatnonzero((shards == 2) & (records == 1))
    assert [(report.position, report.path, report.offset) for report in bad] == [
        (position, str(dataset.path(shard.path)), offset)
    ]
    assert "CRC32C" in bad[0].detail
    good = np.concatenate([positions for _, _, positions in batches])
    assert good.tolist() == [p for p in range(11) if p != position]


def test_a_damaged_length_hides_no_other_record(write_dataset, images):
    dataset = write_dataset(train=images)
    flip_byte(dataset.path(dataset.split("train").shards[0].path), 0)
    batches, bad = run(dataset, [(0, 11)])
    assert len(bad) == 1
    assert sum(len(positions) for _, _, positions in batches) == 10


def test_a_file_cut_short_is_reported(write_dataset, images):
    dataset = write_dataset(train=images)
    path = dataset.path(dataset.split("train").shards[2].path)
    path.write_bytes(path.read_bytes()[:-5])
    _, bad = run(dataset, [(0, 11)])
    assert ["ends in the payload" in report.detail for report in bad] == [True]


@pytest.mark.parametrize("broken", ["example", "jpeg", "class", "absence", "confidences"])
def test_an_intact_record_with_bad_content_is_reported(
    write_dataset, labelled_image, images, broken
):
    whole = labelled_image(99, (1, 2))
    payload = {
        "example": b"\xff\xff not a protocol buffer",
        "jpeg": encode_example(_with(whole, encoded=whole.encoded[:600])),
        "class": encode_example(_with(whole, label_ids=(3, 10))),
        "absence": encode_example(_with(whole, negative_ids=(3, 10))),
        "confidences": encode_example(whole).replace(b"label/confidences", b"label/c0nfidences"),
    }[broken]
    dataset = write_dataset(train=[[payload, *images[0]], [payload], [*images[2], payload]])
    batches, bad = run(dataset, [(0, 13)])
    _, shards, records = order_of(dataset, config()).locate(0, 13)
    expected = [p for p in range(13) if (shards[p], records[p]) in {(0, 0), (1, 0), (2, 5)}]
    assert [report.position for report in bad] == expected
    good = np.concatenate([positions for _, _, positions in batches])
    assert sorted([*good, *expected]) == list(range(13))


def _with(image, **fields):
    return type(image)(**{slot: getattr(image, slot) for slot in image.__slots__} | fields)


def test_nothing_but_bad_records_ends_with_an_error(write_dataset):
    dataset = write_dataset(train=[[b"\xff"] * 8])
    with pytest.raises(TrainingError, match="1000 records in a row"):
        run(dataset, ((start, start + 8) for start in count(step=8)))


def test_errors_reach_the_caller_as_they_are(write_dataset, images):
    dataset = write_dataset(train=images)

    def ranges():
        yield 0, 4
        raise ConnectionError("no coordinator")

    with pytest.raises(ConnectionError, match="no coordinator"):
        run(dataset, ranges())

    def over_budget(report):
        raise TrainingError("too many bad records")

    flip_byte(dataset.path(dataset.split("train").shards[0].path), 20)
    with pytest.raises(TrainingError, match="too many"):
        run(dataset, [(0, 11)], on_bad=over_budget)
    dataset.path(dataset.split("train").shards[1].path).unlink()
    with pytest.raises(TrainingError, match=r"train-00001-of-00003\.tfrecord: missing"):
        run(dataset, [(0, 11)])


def test_an_index_of_other_length_is_an_error(write_dataset, images):
    dataset = write_dataset(train=images)
    first, second, _ = dataset.split("train").shards
    index = dataset.path(second.index_path)
    index.write_bytes(dataset.path(first.index_path).read_bytes())
    with pytest.raises(DatasetError, match="expected the index of the shard that manifest"):
        run(dataset, [(0, 11)])


@pytest.mark.parametrize("threads", [1, 2])
def test_full_batches_come_out_while_the_next_range_is_awaited(write_dataset, images, threads):
    dataset = write_dataset(train=images)
    settings = config(decode_threads=threads, prefetch=1)
    asked, go_on = threading.Event(), threading.Event()

    def ranges():
        yield 0, 9
        asked.set()
        go_on.wait(30)
        yield 9, 11

    batches = training_batches(
        ranges(), order_of(dataset, settings), dataset, settings, SIZE, lambda report: None
    )
    positions = [next(batches)[2].tolist(), next(batches)[2].tolist()]
    assert positions == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert asked.wait(10)
    assert not go_on.is_set()
    go_on.set()
    assert [p.tolist() for _, _, p in batches] == [[8, 9, 10]]


def test_ranges_are_drawn_only_as_needed(write_dataset, images):
    dataset = write_dataset(train=images)
    settings = config(batch_size=2, prefetch=1, decode_threads=1)
    drawn = []

    def ranges():
        for start in range(0, 10_000, 2):
            drawn.append(start)
            yield start, start + 2

    batches = training_batches(
        ranges(), order_of(dataset, settings), dataset, settings, SIZE, lambda report: None
    )
    for _ in range(3):
        next(batches)
    batches.close()
    assert len(drawn) < 20


def test_augmentation_depends_on_seed_and_position_only(write_dataset, labelled_image):
    dataset = write_dataset(train=[[labelled_image(1)]])
    default = {"batch_size": 3, "augmentation": {}}
    [(images, _, _)], _ = run(dataset, [(0, 3)], config(**default))
    [(again, _, _)], _ = run(dataset, [(0, 3)], config(**default, decode_threads=1))
    [(other, _, _)], _ = run(dataset, [(0, 3)], config(**default, seed=1))
    np.testing.assert_array_equal(images, again)
    assert np.abs(images[0] - images[1]).max() > 0.1
    assert np.abs(images - other).max() > 0.1


def test_evaluation_reads_each_record_once_in_order(write_dataset, images):
    dataset = write_dataset(heldout=images)
    settings = config(augmentation={})
    batches = list(evaluation_batches(dataset, SplitName.HELDOUT, settings, SIZE, batch_size=4))
    assert [len(ids) for _, ids in batches] == [4, 4, 3]
    assert [i for _, ids in batches for i in ids] == [f"image{n}" for n in range(11)]
    view = evaluation_image(tf.constant(images[1][0].encoded), SIZE, settings.framing)
    np.testing.assert_array_equal(batches[1][0][1], view)


def test_evaluation_stops_at_a_bad_record(write_dataset, labelled_image):
    whole = labelled_image(1)
    dataset = write_dataset(heldout=[[whole, _with(whole, encoded=whole.encoded[:600])]])
    with pytest.raises(TrainingError, match="heldout split cannot be decoded"):
        list(evaluation_batches(dataset, SplitName.HELDOUT, config(), SIZE, batch_size=1))
    flip_byte(dataset.path(dataset.split("heldout").shards[0].path), 20)
    with pytest.raises(CorruptRecordError, match="at byte 0"):
        list(evaluation_batches(dataset, SplitName.HELDOUT, config(), SIZE, batch_size=1))


@pytest.mark.parametrize(
    "fields",
    [
        {"batch_size": 0},
        {"batchsize": 32},
        {"seed": -1},
        {"decode_threads": 0},
        {"prefetch": 0},
        {"shuffle_block": 0},
        {"framing": {"central_fraction": 0}},
        {"augmentation": {"view": {"name": "random_resized_crop", "area": (0.5, 0.1)}}},
        {"augmentation": {"view": {"name": "random_resized_crop", "aspect_ratio": (0, 1)}}},
        {"augmentation": {"view": {"name": "shift", "area": (0.5, 1)}}},
    ],
)
def test_wrong_settings_are_errors(fields):
    with pytest.raises(ValidationError):
        InputConfig(**fields)
