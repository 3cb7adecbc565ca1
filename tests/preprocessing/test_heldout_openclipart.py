"""A held-out set of its own on real pictures, cut from openclipart by hand.

What must come out is found here with plain sets and every pair of pictures.
"""

import csv
import shutil
from collections import Counter, defaultdict
from itertools import product

import pytest
from PIL import Image

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.pictures.images import examine
from manylabel.preprocessing.rejections import RejectReason
from manylabel.storage.dataset import Dataset
from manylabel.storage.image_policy import ImageConfig
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import read_table

pytestmark = pytest.mark.slow

TRAIN, HELDOUT = SplitName.TRAIN, SplitName.HELDOUT
FOLDERS = ("animals", "food", "geography")
PICTURES = 240
MIN_SET_BITS, DISTANCE = 8, 2

COPIES = 5
CODED_AGAIN = (10, 12, 13, 14)
"""Held-out pictures that stay near to themselves as JPEG files of a lower quality."""
BOTH = "images/in both.jpg"
UNKNOWN, ALONE = "planted: unknown", "planted: unknown and alone"


@pytest.fixture(scope="module")
def labels(openclipart):
    """The labels of some pictures, by path."""
    found = defaultdict(list)
    with (openclipart / "labels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["image_path"].split("/")[1] in FOLDERS:
                found[row["image_path"]].append(row["label"])
    step = len(found) // PICTURES
    return dict(sorted(found.items())[::step][:PICTURES])


def settings(train, heldout, **others):
    tree = {"catalog": train, "heldout": heldout, "executor": "inline"} | others
    return PreprocessingConfig.model_validate(tree)


def write_catalog(write_csv, path, labels):
    write_csv(path, [(name, label, 1) for name in sorted(labels) for label in labels[name]])
    return {"path": str(path)}


@pytest.fixture(scope="module")
def planted(openclipart, labels, write_csv, tmp_path_factory):
    """Both catalogs: every third picture is held out, and pictures are planted among the others.

    Returns:
        Their labels by side, the folder of each, and which training pictures were planted.
    """
    root = tmp_path_factory.mktemp("planted")
    sides: dict[SplitName, dict[str, list[str]]] = {TRAIN: {}, HELDOUT: {}}
    for number, (name, its_labels) in enumerate(labels.items()):
        sides[HELDOUT if number % 3 == 0 else TRAIN][name] = list(its_labels)
    for side, images in sides.items():
        for name in images:
            (root / side / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(openclipart / name, root / side / name)
    given = sorted(sides[HELDOUT])
    equal = [f"images/copy {number}.jpg" for number in range(COPIES)]
    for number, name in enumerate(equal):
        shutil.copyfile(root / HELDOUT / given[number], root / TRAIN / name)
    near = [f"images/near {number}.jpg" for number in CODED_AGAIN]
    for number, name in zip(CODED_AGAIN, near, strict=True):
        with Image.open(root / HELDOUT / given[number]) as image:
            image.convert("RGB").save(root / TRAIN / name, quality=70)
    sides[TRAIN] |= {name: ["planted"] for name in (*equal, *near, BOTH)}
    sides[HELDOUT][BOTH] = sides[HELDOUT].pop(given[20])
    for side in sides:
        shutil.copyfile(openclipart / given[20], root / side / BOTH)
    for name in given[30:34]:
        sides[HELDOUT][name].append(UNKNOWN)
    sides[HELDOUT][given[40]] = [UNKNOWN, ALONE]
    catalogs = {
        side: write_catalog(write_csv, root / side / "l.csv", sides[side]) for side in sides
    }
    return sides, {side: root / side for side in sides}, catalogs, {"equal": equal, "near": near}


def facts_of(root, names):
    """The bytes and the look of each picture that can be used."""
    policy = ImageConfig()
    found = {}
    for name in sorted(names):
        data = (root / name).read_bytes()
        found[name] = data, int.from_bytes(examine(data, policy).perceptual_hash, "big")
    return found


def are_near(one, other):
    bits = (one ^ other).bit_count()
    says_enough = min(one.bit_count(), other.bit_count()) >= MIN_SET_BITS
    return bits == 0 or (bits <= DISTANCE and says_enough)


@pytest.fixture(scope="module")
def expected(planted):
    """Which images stay on each side, and what becomes of the others: every pair is compared."""
    sides, roots, _, _ = planted
    facts = {side: facts_of(roots[side], sides[side]) for side in sides}
    kept, duplicates = {}, {}
    for side in sides:
        first: dict[bytes, list[str]] = {}
        for name, (data, _) in facts[side].items():
            first.setdefault(data, []).append(name)
        kept[side] = {
            names[0]: {label for name in names for label in sides[side][name]}
            for names in first.values()
        }
        duplicates[side] = len(facts[side]) - len(first)
    equal, near = set(), set()
    for mine, other in product(kept[TRAIN], kept[HELDOUT]):
        (data, look), (other_data, other_look) = facts[TRAIN][mine], facts[HELDOUT][other]
        if data == other_data:
            equal.add(mine)
        elif are_near(look, other_look):
            near.add(mine)
    near -= equal
    left = {name: kept[TRAIN][name] for name in kept[TRAIN].keys() - equal - near}
    known = {label for its_labels in left.values() for label in its_labels}
    unknown = Counter(
        label for its_labels in kept[HELDOUT].values() for label in its_labels - known
    )
    judged = {name: its & known for name, its in kept[HELDOUT].items() if its & known}
    return {
        "facts": facts,
        "duplicates": duplicates,
        "equal": equal,
        "near": near,
        "train": left,
        "heldout": judged,
        "unjudged": kept[HELDOUT].keys() - judged.keys(),
        "unknown": dict(unknown),
    }


@pytest.fixture(scope="module")
def report(planted, tmp_path_factory):
    _, _, catalogs, _ = planted
    output = tmp_path_factory.mktemp("planted") / "dataset"
    return preprocess(settings(catalogs[TRAIN], {"catalog": catalogs[HELDOUT]}), str(output))


def records_of(report):
    dataset = Dataset.open(report.dataset)
    names = dataset.label_names()
    return {
        side: {
            image.image_id: {names[number] for number in image.label_ids}
            for image in dataset.iterate(side)
        }
        for side in SplitName
    }


def test_counts_are_exact(planted, expected, report):
    sides, _, _, names = planted
    assert expected["equal"] >= {*names["equal"], BOTH}
    assert expected["near"] >= {*names["near"]}
    assert report.rejected == {
        RejectReason.NEAR_HELDOUT: len(expected["near"]),
        RejectReason.EQUAL_TO_HELDOUT: len(expected["equal"]),
    }
    assert report.heldout_rejected == {RejectReason.UNKNOWN_LABELS: len(expected["unjudged"])}
    assert report.unknown_labels == expected["unknown"]
    assert (report.unknown_labels[UNKNOWN], report.unknown_labels[ALONE]) == (5, 1)
    counts = report.counts
    assert counts.listed == sum(map(len, sides.values()))
    assert counts.written == len(expected["train"]) + len(expected["heldout"])
    assert counts.duplicates == sum(expected["duplicates"].values())
    assert counts.listed == counts.written + counts.rejected + counts.duplicates


def test_removed_training_images_are_listed_with_their_held_out_image(expected, report):
    rows = read_table(f"{report.dataset}/rejected.parquet").to_pylist()
    by_reason: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        by_reason[row["reason"]][row["image_id"]] = row["detail"]
    equal, near = by_reason["equal to a held-out image"], by_reason["looks like a held-out image"]
    assert (equal.keys(), near.keys()) == (expected["equal"], expected["near"])
    assert equal[BOTH] == f"{BOTH} has the same bytes"
    facts = expected["facts"]
    for name, detail in equal.items():
        other = detail.removesuffix(" has the same bytes")
        assert facts[HELDOUT][other][0] == facts[TRAIN][name][0]
    for name, detail in near.items():
        other, _, bits = detail.removesuffix(" of 64 bits differ").partition(" looks like it: ")
        assert (facts[HELDOUT][other][1] ^ facts[TRAIN][name][1]).bit_count() == int(bits)


def test_the_dataset_holds_what_is_left_with_the_labels_that_training_has(expected, report):
    records = records_of(report)
    assert records == {TRAIN: expected["train"], HELDOUT: expected["heldout"]}
    for row in Dataset.open(report.dataset).labels().to_pylist():
        for side in SplitName:
            having = sum(row["name"] in its_labels for its_labels in records[side].values())
            assert row[f"{side}_count"] == having


def test_no_picture_is_on_both_sides(planted, report):
    _, roots, _, _ = planted
    records = records_of(report)
    looks = {
        side: [look for _, look in facts_of(roots[side], records[side]).values()]
        for side in records
    }
    assert not any(are_near(*pair) for pair in product(looks[TRAIN], looks[HELDOUT]))


def test_a_cut_by_the_splits_own_hash_gives_the_splits_dataset(
    openclipart, labels, write_csv, tmp_path, dataset_bytes
):
    root = {"image_root": str(openclipart)}
    whole = write_catalog(write_csv, tmp_path / "labels.csv", labels) | root
    split = preprocess(
        settings(whole, {"size": 0.3}, shards={"images_per_shard": 40}),
        str(tmp_path / "split"),
    )
    copies = read_table(f"{split.dataset}/duplicates.parquet").to_pylist()
    chosen = set(Dataset.open(split.dataset).heldout_images().column("image_id").to_pylist())
    chosen |= {row["image_id"] for row in copies if row["kept_image_id"] in chosen}
    sides = {
        side: {name: labels[name] for name in labels if (name in chosen) == (side is HELDOUT)}
        for side in SplitName
    }
    catalogs = {
        side: write_catalog(write_csv, tmp_path / f"{side}.csv", sides[side]) | root
        for side in SplitName
    }
    config = settings(
        catalogs[TRAIN], {"catalog": catalogs[HELDOUT]}, shards={"images_per_shard": 40}
    )
    given = preprocess(config, str(tmp_path / "given"))
    assert min(given.images.values()) > 40
    assert (given.rejected, given.heldout_rejected) == ({}, {})
    assert given.content_digest == split.content_digest
    before, after = dataset_bytes(split.dataset), dataset_bytes(given.dataset)
    of_both = {name for name in before if name != "duplicates.parquet"}
    assert {name: after[name] for name in of_both} == {name: before[name] for name in of_both}
    tables = (Dataset.open(each.dataset).heldout_images() for each in (split, given))
    assert next(tables).equals(next(tables))
