"""When a plan counts, and how shards are named."""

import pytest
from upath import UPath

from manylabel.preprocessing.dataset_plan import (
    PLAN_NAME,
    TABLES,
    DatasetPlan,
    plan_path,
    shard_count,
    shard_name,
    write_planned,
)
from manylabel.preprocessing.rejections import Rejection, RejectReason
from manylabel.storage.manifest import table_digest
from manylabel.storage.schema import REJECTED_SCHEMA, SplitName
from manylabel.storage.tables import read_table, write_rows


@pytest.fixture
def root(tmp_path):
    return UPath(tmp_path / "dataset")


def complete_plan(root):
    shard = shard_name(SplitName.TRAIN, 0, 1)
    for name in TABLES:
        write_rows(
            root / name, [Rejection(f"in {name}", RejectReason.TOO_SMALL, "")], REJECTED_SCHEMA
        )
    labels, heldout_images, *_ = (table_digest(read_table(root / name)) for name in TABLES)
    plan = DatasetPlan(
        fingerprint="1",
        image_root="images",
        labels_digest=labels,
        heldout_images_digest=heldout_images,
        listed=3,
        shards={SplitName.TRAIN: [shard], SplitName.HELDOUT: []},
    )
    plan.write(root / PLAN_NAME)
    write_planned(root, shard, [])
    return plan


@pytest.mark.parametrize("name", TABLES[:2])
def test_tables_that_are_others_than_the_plans_are_made_again(root, name):
    plan = complete_plan(root)
    assert DatasetPlan.find(root) == plan
    write_rows(root / name, [Rejection("changed", RejectReason.TOO_SMALL, "")], REJECTED_SCHEMA)
    assert DatasetPlan.find(root) is None


def test_a_plan_counts_only_when_all_its_parts_are_there_and_readable(root):
    assert DatasetPlan.find(root) is None
    plan = complete_plan(root)
    assert DatasetPlan.find(root) == plan
    parts = [root / name for name in TABLES]
    parts += [root / PLAN_NAME, plan_path(root, plan.shards[SplitName.TRAIN][0])]
    for part in parts:
        content = part.read_bytes()
        for damaged in (b"", content[:-9], b"\xff" * len(content)):
            part.write_bytes(damaged)
            assert DatasetPlan.find(root) is None
        part.unlink()
        assert DatasetPlan.find(root) is None
        part.write_bytes(content)
        assert DatasetPlan.find(root) == plan


def test_shard_counts_and_names():
    assert [shard_count(images, 10) for images in (0, 1, 10, 11)] == [0, 1, 1, 2]
    assert shard_name(SplitName.HELDOUT, 3, 12) == "heldout-00003-of-00012"
