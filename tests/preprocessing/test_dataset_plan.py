"""When a plan counts, and how shards are named."""

import errno

import pyarrow as pa
import pytest
from upath import UPath

from manylabel.preprocessing.decisions.split import LargeGroups
from manylabel.preprocessing.decisions.vocabulary import build_classes
from manylabel.preprocessing.decisions.work_items import PLAN_SCHEMA, SideTotal, Totals, shard_name
from manylabel.preprocessing.planning import dataset_plan
from manylabel.preprocessing.planning.dataset_plan import (
    CLASSES_NAME,
    PLAN_NAME,
    TABLES,
    TOTALS_NAME,
    DatasetPlan,
    plan_path,
    write_planned,
    write_planned_classes,
    write_totals,
)
from manylabel.storage.manifest import table_digest
from manylabel.storage.schema import REJECTED_SCHEMA, SplitName
from manylabel.storage.tables import part_path, read_table, write_table


@pytest.fixture
def root(tmp_path):
    return UPath(tmp_path / "dataset")


def one_row(image_id):
    return pa.table([[image_id], ["too small"], [""]], schema=REJECTED_SCHEMA)


def complete_plan(root):
    shard = shard_name(SplitName.TRAIN, 0, 1)
    for name in TABLES:
        write_table(root / name, one_row(f"in {name}"))
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
    sides = {split: SideTotal(images=0, stored_bytes=0) for split in SplitName}
    totals = Totals(sides, LargeGroups(groups=0, images=0, largest=0))
    write_totals(totals, dict.fromkeys(SplitName, 0), 3, root)
    write_planned_classes(build_classes([], []), root)
    write_planned(root, shard, PLAN_SCHEMA.empty_table())
    return plan


@pytest.mark.parametrize("name", TABLES[:2])
def test_tables_that_are_others_than_the_plans_are_made_again(root, name):
    plan = complete_plan(root)
    assert DatasetPlan.find(root) == plan
    write_table(root / name, one_row("changed"))
    assert DatasetPlan.find(root) is None


def test_a_plan_counts_only_when_all_its_parts_are_there_and_readable(root):
    assert DatasetPlan.find(root) is None
    plan = complete_plan(root)
    assert DatasetPlan.find(root) == plan
    parts = [root / name for name in TABLES]
    parts += [
        root / TOTALS_NAME,
        root / CLASSES_NAME,
        root / PLAN_NAME,
        plan_path(root, plan.shards[SplitName.TRAIN][0]),
    ]
    for part in parts:
        content = part.read_bytes()
        for damaged in (b"", content[:-9], b"\xff" * len(content)):
            part.write_bytes(damaged)
            assert DatasetPlan.find(root) is None
        part.unlink()
        assert DatasetPlan.find(root) is None
        part.write_bytes(content)
        assert DatasetPlan.find(root) == plan


def test_a_large_table_may_be_in_parts(root):
    plan = complete_plan(root)
    whole = root / TABLES[2]
    rows = read_table(whole)
    whole.unlink()
    for number in range(2):
        write_table(part_path(whole, number), rows)
    assert DatasetPlan.find(root) == plan
    part_path(whole, 1).write_bytes(b"")
    assert DatasetPlan.find(root) is None


def test_trouble_with_the_storage_is_no_damage(root, monkeypatch):
    """One time-out must not cost a plan, and with it every picture decoded."""
    complete_plan(root)

    def time_out(*_, **__):
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr(dataset_plan, "read_table", time_out)
    with pytest.raises(TimeoutError):
        DatasetPlan.find(root)
    monkeypatch.undo()
    monkeypatch.setattr(DatasetPlan, "read", time_out)
    with pytest.raises(TimeoutError):
        DatasetPlan.find(root)
