"""Why nothing, or too little, is held out, and the setting that is named."""

import json

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.config import HeldoutConfig, PreprocessingConfig
from manylabel.preprocessing.decisions.hashing import HASH_RANGE
from manylabel.preprocessing.decisions.image_labels import LABELS
from manylabel.preprocessing.decisions.split import (
    Stays,
    count_stays,
    decide_sides,
    find_cut,
    qualifying_sizes,
    surely_seen,
    unite_keys,
)
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.heldout_doubts import heldout_doubt
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.planning.dataset_plan import PlanTotals
from manylabel.storage.schema import SplitName

pytestmark = pytest.mark.slow

HALF = HASH_RANGE // 2


def table_of(*images):
    """Images (place, labels), sorted by place; labels are keys."""
    places, labels = zip(*images, strict=True)
    pairs = [[{"key": key, "confidence": 1.0} for key in keys] for keys in labels]
    return pa.table({"place": pa.array(places, pa.uint64()), "labels": pa.array(pairs, LABELS)})


def totals_of(config, *tables):
    """What phase one decides of tables of whole groups, each on its own as a bucket."""
    cut = find_cut([qualifying_sizes(table, config) for table in tables], config.size)
    seen = unite_keys([surely_seen(table, cut, config) for table in tables])
    decided = [decide_sides(table, cut, seen, config) for table in tables]
    heldout = sum(int(np.sum(table.column("heldout").to_numpy())) for table in decided)
    images = sum(table.num_rows for table in tables)
    stays: dict[Stays, int] = {}
    for table in decided:
        for reason, count in count_stays(table).items():
            stays[reason] = stays.get(reason, 0) + count
    return PlanTotals(
        listed=images,
        images={SplitName.TRAIN: images - heldout, SplitName.HELDOUT: heldout},
        shards=dict.fromkeys(SplitName, 1),
        large_groups=0,
        large_group_images=0,
        largest_group=1,
        stays=stays,
    )


def doubt_of(*tables, **settings):
    config = HeldoutConfig(**settings)
    return heldout_doubt(config, totals_of(config, *tables))


@pytest.mark.parametrize(
    ("settings", "images", "said"),
    [
        ({"size": 0.1}, [(HALF, [1])] * 30, "all 30 images look alike or share a group"),
        ({"size": 0.9}, [(HALF, [1])] * 30, "all 30 images look alike or share a group"),
        ({"size": 5}, [(HALF, [1])] * 30, "all 30 images look alike or share a group"),
        ({"size": 0.5}, [(0, [1])], "there is one image, which training needs"),
        (
            {"size": 0.25},
            [(HALF + n, [1]) for n in range(30)],
            "none of 30 groups of images is in the share 0.25 that preprocessing.heldout.size "
            "takes; choose a larger one, or a number of images such as 3",
        ),
        (
            {"size": 0.99},
            [(n, [1]) for n in range(30)],
            "preprocessing.heldout.size 0.99 takes all of the 30 groups of images that qualify",
        ),
        (
            {"size": 30},
            [(n, [1]) for n in range(30)],
            "preprocessing.heldout.size 30 takes all of the 30 groups of images that qualify",
        ),
        (
            {"size": 0.5, "minimum_labels": 2},
            [(n, [1]) for n in range(30)],
            "of 30 groups of images 30 have fewer labels than "
            "preprocessing.heldout.minimum_labels, 2",
        ),
        (
            {"size": 5, "minimum_labels": 2},
            [(n, [1]) for n in range(30)],
            "of 30 groups of images 30 have fewer labels than",
        ),
        (
            {"size": 0.5, "largest_group": 4},
            [(n // 10, [1]) for n in range(30)],
            "of 3 groups of images 3 have more images than preprocessing.heldout.largest_group, 4",
        ),
        (
            {"size": 0.75},
            [*((n, [n]) for n in range(10)), (HASH_RANGE - 1, [99])],
            "of 11 groups of images 10 have labels that no image has which stays in training",
        ),
    ],
)
def test_nothing_held_out_says_why(settings, images, said):
    doubt = doubt_of(table_of(*images), **settings)
    assert doubt is not None
    assert doubt.startswith(f"nothing is held out, so nothing can be evaluated: {said}")


def test_less_than_the_number_that_was_asked_for():
    images = [(n, [1, 2] if n < 3 else [1]) for n in range(10)] + [(HALF, [1, 2])]
    doubt = doubt_of(table_of(*images), size=4, minimum_labels=2)
    assert doubt is not None
    images = [(n, [1, 2] if n % 2 else [1, 2, 3]) for n in range(10)]
    images[0] = (0, [1, 2, 7])
    doubt = doubt_of(table_of(*images), size=3, minimum_labels=3)
    assert doubt == (
        "2 images are held out of the 3 that preprocessing.heldout.size says: of 8 groups of "
        "images 5 have fewer labels than preprocessing.heldout.minimum_labels, 3, 1 have labels "
        "that no image has which stays in training"
    )


def test_what_was_asked_for_needs_no_word():
    images = [(n, [1]) for n in range(10)]
    assert doubt_of(table_of(*images[:5]), table_of(*images[5:]), size=2) is None
    assert doubt_of(table_of(*images), size=0) is None
    assert doubt_of(table_of((0, [1]), (HASH_RANGE - 1, [1])), size=0.5) is None


def test_groups_of_several_buckets_are_counted_together():
    tables = [table_of(*((HALF + 10 * n + k, [1]) for k in range(5))) for n in range(3)]
    doubt = doubt_of(*tables, size=0.25)
    assert doubt is not None
    assert "none of 15 groups" in doubt


def test_plans_of_before_say_less():
    totals = totals_of(HeldoutConfig(), table_of((HALF, [1])))
    text = totals.model_dump_json(exclude={"stays"})
    assert "stays" not in json.loads(text)
    doubt = heldout_doubt(HeldoutConfig(), PlanTotals.model_validate_json(text))
    assert doubt is not None
    assert "choose another preprocessing.heldout.size" in doubt


def test_pictures_that_are_all_alike(tmp_path, picture, write_csv):
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture(1, (200 + number, 200)))
    rows = [(f"{number}.png", "cat", 1) for number in range(4)]
    catalog = {"path": str(write_csv(tmp_path / "labels.csv", rows))}
    config = PreprocessingConfig.model_validate({"catalog": catalog, "executor": "inline"})
    report = preprocess(config, str(tmp_path / "dataset"))
    assert report.heldout_doubt is not None
    assert "all 4 images look alike or share a group" in report.heldout_doubt
    rare = {"catalog": catalog, "executor": "inline", "labels": {"minimum_count": 9}}
    with pytest.raises(PreprocessingError, match="minimum_count leaves out labels of fewer than 9"):
        preprocess(PreprocessingConfig.model_validate(rare), str(tmp_path / "none"))
