"""Labels and verified absences of the training records, counted."""

import dataclasses

import pytest

from manylabel.trainer.errors import TrainingError
from manylabel.trainer.records.known_labels import count_known_labels


@pytest.fixture
def image(labelled_image):
    def make(number, present, absent=()):
        return dataclasses.replace(labelled_image(number, present), negative_ids=absent)

    return make


def test_labels_and_absences_of_all_records_are_counted(write_dataset, image):
    dataset = write_dataset(
        train=[[image(0, (0, 2), (1,)), image(1, (2,))], [image(2, (), (1, 2))]],
        heldout=[[image(3, (0,), (3,))]],
        classes=4,
    )
    known = count_known_labels(dataset)
    assert known.images == 3
    assert known.present.tolist() == [1, 0, 2, 0]
    assert known.absent.tolist() == [0, 2, 1, 0]


@pytest.mark.parametrize(("most", "expected"), [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_no_more_records_are_read_than_allowed(write_dataset, image, most, expected):
    shards = [[image(0, (), (1,)), image(1, (), (1,))], [image(2, (), (1,))]]
    known = count_known_labels(write_dataset(train=shards), most)
    assert (known.images, known.absent[1]) == (expected, expected)


def test_records_that_cannot_be_read_are_passed_over(write_dataset, image):
    dataset = write_dataset(train=[[b"\xff no Example", image(0, (1,), (0,)), image(1, (1,))]])
    entry = dataset.split("train").shards[0]
    offset = dataset.read_index(entry)["byte_offset"][2].as_py()
    path = dataset.path(entry.path)
    data = bytearray(path.read_bytes())
    data[offset + 100] ^= 1
    path.write_bytes(data)
    known = count_known_labels(dataset)
    assert (known.images, known.present[1], known.absent[0]) == (1, 1, 1)


def test_a_dataset_without_verified_absences_is_refused(write_dataset, image):
    dataset = write_dataset(train=[[image(0, (1,)), image(1, (2,))]])
    with pytest.raises(
        TrainingError, match=r"trainer\.loss\.unknown is ignore.* set it to negative"
    ):
        count_known_labels(dataset)
