"""What people, machines and a hierarchy say of an image together."""

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.decisions.hierarchy import Hierarchy, judge_labels

PARENTS = {"Dog": ["Animal", "Pet"], "Cat": ["Animal", "Pet"], "Pug": ["Dog"], "Pet": ["Being"]}
PERSON, MACHINE = True, False


def judged(rows, parents=PARENTS):
    """image -> {label: confidence}, from rows (image, label, confidence, by whom)."""
    image, label, confidence, verified = zip(*rows, strict=True)
    names = sorted(set(image))
    found = judge_labels(
        np.array([names.index(each) for each in image]),
        pa.array(label, pa.string()),
        np.array(confidence, float),
        np.array(verified),
        Hierarchy.of(parents),
    )
    images: dict[str, dict[str, float]] = {name: {} for name in names}
    for at, number, value in zip(found.image, found.label, found.confidence, strict=True):
        labels, name = images[names[at]], found.names[number].as_py()
        assert name not in labels, "each label once"
        labels[name] = value
    return images


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # What is present makes present what it is a kind of.
        ([("Pug", 1, PERSON)], {"Pug": 1, "Dog": 1, "Animal": 1, "Pet": 1, "Being": 1}),
        # What is absent makes its kinds absent.
        ([("Pet", 0, PERSON)], {"Pet": 0, "Dog": 0, "Cat": 0, "Pug": 0}),
        # The surest of several guesses is what is known of their parent.
        (
            [("Dog", 0.6, MACHINE), ("Cat", 0.8, MACHINE)],
            {"Dog": 0.6, "Cat": 0.8, "Animal": 0.8, "Pet": 0.8, "Being": 0.8},
        ),
        # A person outweighs a machine, in both directions.
        ([("Being", 0.3, MACHINE), ("Being", 1, PERSON)], {"Being": 1}),
        ([("Zebra", 0.9, MACHINE), ("Zebra", 0, PERSON)], {"Zebra": 0}),
        # Also by what follows; and what is overruled says nothing of Animal, Pet and Being.
        ([("Pug", 0.9, MACHINE), ("Dog", 0, PERSON)], {"Dog": 0, "Pug": 0}),
        (
            [("Animal", 0.7, MACHINE), ("Dog", 1, PERSON)],
            {"Dog": 1, "Animal": 1, "Pet": 1, "Being": 1},
        ),
        # A machine's 0 is no verified absence.
        ([("Pet", 0, MACHINE)], {}),
        # Among people a presence outweighs an absence, and that absence says nothing of Cat.
        ([("Dog", 0, PERSON), ("Dog", 1, PERSON)], {"Dog": 1, "Animal": 1, "Pet": 1, "Being": 1}),
        (
            [("Pug", 1, PERSON), ("Pet", 0, PERSON)],
            {"Pug": 1, "Dog": 1, "Animal": 1, "Pet": 1, "Being": 1},
        ),
        # Labels that the hierarchy lacks, and rows without one.
        ([("Zebra", 1, PERSON), (None, None, PERSON)], {"Zebra": 1}),
        ([(None, None, MACHINE)], {}),
    ],
)
def test_what_follows(said, expected):
    rows = [("a.jpg", *row) for row in said] + [("b.jpg", "Cat", 0.0, PERSON)]
    for order in itertools.islice(itertools.permutations(rows), 6):
        assert judged(order) == {"a.jpg": expected, "b.jpg": {"Cat": 0}}


def plainly(rows, parents):
    """The same for one image, set by set."""

    def above(label):
        return {label}.union(*(above(parent) for parent in parents.get(label, ())))

    present: dict[str, float] = {}
    absent: dict[str, float] = {}
    guessed: dict[str, float] = {}
    for label, value, person in rows:
        if value > 0 and person:
            for other in above(label):
                present[other] = max(value, present.get(other, 0))
    denied = {label for label, value, person in rows if value == 0 and person} - present.keys()
    for label in {*parents, *itertools.chain(*parents.values()), *(row[0] for row in rows)}:
        if above(label) & denied:
            absent[label] = 0
    for label, value, person in rows:
        if value > 0 and not person and label not in absent:
            for other in above(label):
                guessed[other] = max(value, guessed.get(other, 0))
    assert present.keys().isdisjoint(absent)
    assert guessed.keys().isdisjoint(absent)
    return guessed | present | absent


def test_like_a_plain_loop_whatever_is_said():
    """And never does it contradict itself."""
    rng = random.Random(7)
    names = [f"c{number}" for number in range(12)]
    for _ in range(60):
        parents = {
            name: rng.sample(names[:at], rng.randrange(min(at, 3) + 1))
            for at, name in enumerate(names)
        }
        said = {
            f"{image}.jpg": [
                (rng.choice([*names, "other"]), rng.choice([0, 0, 1, 0.5]), rng.random() < 0.6)
                for _ in range(rng.randrange(1, 9))
            ]
            for image in range(5)
        }
        rows = [(image, *row) for image, several in said.items() for row in several]
        rng.shuffle(rows)
        expected = {image: plainly(several, parents) for image, several in said.items()}
        assert judged(rows, parents) == expected
