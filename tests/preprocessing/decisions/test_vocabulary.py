"""Which labels are frequent, and which are the classes."""

import pyarrow as pa
import pytest

from manylabel.preprocessing.decisions.image_labels import LABELS, label_keys
from manylabel.preprocessing.decisions.listing import LABEL_NAMES
from manylabel.preprocessing.decisions.vocabulary import (
    CLASSES,
    COUNTS,
    build_classes,
    count_labels,
    drop_rare_labels,
    frequent_labels,
    name_labels,
    sum_counts,
)
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.rejections import RejectReason

NAMES = ["cat", "dog", "\uffff", "\U0001f422", "Żółw", "absent"]
KEYS = dict(zip(NAMES, label_keys(pa.array(NAMES)).tolist(), strict=True))


def images_of(*labels, heldout=None):
    """Images with labels by name."""
    pairs = [[{"key": KEYS[n], "confidence": c} for n, c in one.items()] for one in labels]
    table = pa.table(
        {
            "image_id": [f"{number}.jpg" for number in range(len(labels))],
            "labels": pa.array(pairs, LABELS),
        }
    )
    return table if heldout is None else table.append_column("heldout", pa.array(heldout))


def names_of(*names):
    return pa.table([[KEYS[name] for name in names], list(names)], schema=LABEL_NAMES)


def counted(table):
    return {row["key"]: (row["train"], row["heldout"]) for row in table.to_pylist()}


IMAGES = ({"cat": 1.0, "dog": 0.0}, {"cat": 0.5, "dog": 0.25}, {"absent": 0.0, "dog": 1.0})


def test_labels_are_counted_by_image_and_side():
    assert counted(count_labels(images_of(*IMAGES))) == {KEYS["cat"]: (2, 0), KEYS["dog"]: (2, 0)}
    sided = images_of(*IMAGES, heldout=[True, False, True])
    assert counted(count_labels(sided)) == {KEYS["cat"]: (1, 1), KEYS["dog"]: (1, 1)}
    assert count_labels(sided).schema == COUNTS
    assert count_labels(images_of()).num_rows == 0


def test_counts_of_all_tables_are_summed():
    tables = [
        count_labels(images_of(*IMAGES, heldout=[True, False, True])),
        count_labels(images_of({"cat": 1.0, "Żółw": 1.0}, heldout=[False])),
    ]
    expected = {KEYS["cat"]: (2, 1), KEYS["dog"]: (1, 1), KEYS["Żółw"]: (1, 0)}
    for several in (tables, tables[::-1]):
        summed = sum_counts(several)
        assert counted(summed) == expected
        assert summed.column("key").to_pylist() == sorted(expected)
    assert sum_counts([]) == COUNTS.empty_table()


def test_rare_labels_are_dropped_and_images_without_another_rejected():
    tables = [count_labels(images_of(*IMAGES)), count_labels(images_of({"Żółw": 1.0, "cat": 1.0}))]
    frequent = frequent_labels(tables, 2)
    assert set(frequent.tolist()) == {KEYS["cat"], KEYS["dog"]}
    images = images_of(
        {"cat": 0.5, "Żółw": 1.0},
        {"Żółw": 1.0},
        {"dog": 0.0, "Żółw": 1.0},
        {"dog": 0.0, "cat": 1.0},
    )
    kept, rejected = drop_rare_labels(images, frequent, 2)
    expected = images_of({"cat": 0.5}, {}, {}, {"dog": 0.0, "cat": 1.0}).take([0, 3])
    assert kept.to_pylist() == expected.to_pylist()
    assert kept.schema == images.schema
    detail = "none of its labels is on 2 images (labels.minimum_count)"
    assert [tuple(row.values()) for row in rejected.to_pylist()] == [
        ("1.jpg", RejectReason.NO_LABEL_LEFT, detail),
        ("2.jpg", RejectReason.NO_LABEL_LEFT, detail),
    ]


def test_a_label_that_is_only_absent_is_on_no_image():
    frequent = frequent_labels([count_labels(images_of(*IMAGES))], 1)
    assert KEYS["absent"] not in frequent.tolist()
    kept, _ = drop_rare_labels(images_of(IMAGES[2]), frequent, 1)
    assert kept.column("labels").to_pylist() == [[{"key": KEYS["dog"], "confidence": 1.0}]]


def test_nothing_is_frequent_where_nothing_is_counted():
    kept, rejected = drop_rare_labels(images_of(*IMAGES), frequent_labels([], 1), 1)
    assert (kept.num_rows, rejected.num_rows) == (0, 3)


def test_the_classes_are_what_training_has_by_name_in_code_point_order():
    sided = images_of(
        *({name: 1.0} for name in NAMES[:5]),
        {"cat": 1.0, "absent": 1.0},
        {"cat": 1.0, "dog": 0.0},
        heldout=[False] * 5 + [True, False],
    )
    parts = [count_labels(sided.slice(start, 4)) for start in (0, 4)]
    names = [names_of("dog", "cat", "absent"), names_of("Żółw", "\U0001f422", "cat", "\uffff")]
    for counts in (parts, parts[::-1]):
        classes = build_classes(counts, names)
        assert classes.schema == CLASSES
        assert [tuple(row.values()) for row in classes.to_pylist()] == [
            (KEYS[name], train, heldout, name)
            for name, train, heldout in (
                ("cat", 2, 1),
                ("dog", 1, 0),
                ("Żółw", 1, 0),
                ("\uffff", 1, 0),
                ("\U0001f422", 1, 0),
            )
        ]
    assert build_classes([], []).num_rows == 0


def test_each_label_has_one_name():
    named = name_labels([names_of("dog", "cat"), names_of("cat"), names_of("Żółw")])
    assert sorted(named.column("name").to_pylist()) == ["cat", "dog", "Żółw"]
    assert named.column("key").to_pylist() == sorted(named.column("key").to_pylist())


def test_two_labels_of_one_hash_are_an_error_that_names_both():
    clash = pa.table([[5, 7, 5], ["cat", "bird", "dog"]], schema=LABEL_NAMES)
    for tables in ([clash], [clash.slice(0, 2), clash.slice(2)]):
        with pytest.raises(PreprocessingError, match="labels 'cat' and 'dog' have the same hash"):
            name_labels(tables)
