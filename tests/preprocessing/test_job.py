"""The whole job in one process: what comes out, and what a second run does."""

import errno
import io
import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from manylabel.preprocessing import job, progress
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.pictures import checking
from manylabel.preprocessing.planning import dataset_plan, make_plan
from manylabel.preprocessing.planning.dataset_plan import plan_path, write_planned
from manylabel.preprocessing.progress import Progress, Stage
from manylabel.preprocessing.writing import phase_two, shards
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import DatasetError
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import read_table

pytestmark = pytest.mark.slow

IMAGES = 40


def labels_of(number):
    """ "all" on every image, a label on every third, one that occurs once."""
    return ["all", f"third {number % 3}", *(["once"] if number == 7 else [])]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory, picture, write_csv):
    """Forty pictures; each of the last ten looks like one of the first ten."""
    directory = tmp_path_factory.mktemp("catalog")
    for number in range(IMAGES):
        small = Image.open(io.BytesIO(picture(number % 30)))
        size = (60, 50) if number < 30 else (90, 75)
        small.resize(size, Image.Resampling.BICUBIC).save(directory / f"{number}.png")
    rows = [
        (f"{number}.png", label, 1, f"author {number // 2}")
        for number in range(IMAGES)
        for label in labels_of(number)
    ]
    header = ("image_path", "label", "confidence", "author")
    return write_csv(directory / "labels.csv", rows, header)


@pytest.fixture(scope="module")
def finished(catalog, tmp_path_factory):
    """A finished dataset and the report on it; tests that change something take a copy."""
    root = tmp_path_factory.mktemp("finished") / "dataset"
    return preprocess(config_of(catalog), str(root))


@pytest.fixture
def output(finished, tmp_path):
    return Path(shutil.copytree(finished.dataset, tmp_path / "dataset"))


def config_of(path, **settings):
    base = {
        "heldout": {"size": 0.3},
        "shards": {"images_per_shard": 12},
        "executor": "inline",
    }
    catalog = {"path": str(path), **settings.pop("catalog", {})}
    return PreprocessingConfig.model_validate({**base, **settings, "catalog": catalog})


def test_two_runs_write_the_same_bytes(finished, tmp_path, catalog, dataset_bytes):
    preprocess(config_of(catalog), str(tmp_path / "again"))
    assert dataset_bytes(tmp_path / "again") == dataset_bytes(finished.dataset)
    first, second = Path(finished.dataset) / "manifest.json", tmp_path / "again" / "manifest.json"
    assert first.read_bytes() == second.read_bytes()


def test_a_listener_that_fails_ends_the_job_and_costs_nothing(
    finished, output, catalog, monkeypatch, dataset_bytes
):
    """With its own error: no storage has failed."""
    shard = next((output / "train").glob("*.tfrecord"))
    shard.unlink()

    def fail(_):
        raise OSError("nobody listens")

    def fail_when_shards_are_written(told):
        if told.stage is Stage.WRITE_SHARDS:
            fail(told)

    for seconds, listener in ((0.001, fail), (3600, fail_when_shards_are_written)):
        monkeypatch.setattr(progress, "POLL_SECONDS", seconds)
        assert not shard.exists()
        with pytest.raises(OSError, match=r"^nobody listens$"):
            preprocess(config_of(catalog), str(output), progress=listener)
    assert dataset_bytes(output) == dataset_bytes(finished.dataset)


def test_every_image_is_written_once_and_counts_are_exact(finished):
    dataset = Dataset.open(finished.dataset)
    sides = {split: list(dataset.iterate(split)) for split in SplitName}
    assert sorted(image.image_id for images in sides.values() for image in images) == sorted(
        f"{number}.png" for number in range(IMAGES)
    )
    assert {split: len(images) for split, images in sides.items()} == finished.images
    assert len(dataset.split("train").shards) > 1

    counted = {
        split: Counter(label for image in images for label in image.label_ids)
        for split, images in sides.items()
    }
    table = dataset.labels().to_pylist()
    assert [row["class_id"] for row in table] == list(range(len(table)))
    for row in table:
        assert row["train_count"] == counted[SplitName.TRAIN][row["class_id"]] > 0
        assert row["heldout_count"] == counted[SplitName.HELDOUT][row["class_id"]]
        total = counted[SplitName.TRAIN].total()
        assert row["train_share"] == pytest.approx(row["train_count"] / total)


def test_pictures_that_look_alike_stay_together(tmp_path, catalog):
    report = preprocess(config_of(catalog, heldout={"size": 12}), str(tmp_path / "out"))
    dataset = Dataset.open(report.dataset)
    heldout = {image.image_id for image in dataset.iterate("heldout")}
    assert 12 <= len(heldout) <= 13
    for number in range(10):
        assert (f"{number}.png" in heldout) == (f"{number + 30}.png" in heldout)
    assert any(f"{number}.png" in heldout for number in range(10))


def test_a_group_column_stays_together(tmp_path, catalog):
    config = config_of(
        catalog,
        catalog={"group_column": "author"},
        heldout={"size": 0.3, "duplicate_distance": None},
    )
    dataset = Dataset.open(preprocess(config, str(tmp_path / "out")).dataset)
    heldout = {image.image_id for image in dataset.iterate("heldout")}
    assert 0 < len(heldout) < IMAGES
    for number in range(0, IMAGES, 2):
        assert (f"{number}.png" in heldout) == (f"{number + 1}.png" in heldout)


def test_held_out_images_have_only_labels_that_training_has_seen(tmp_path, catalog):
    """With everything below the cut, groups go back to training until labels are seen there."""
    config = config_of(catalog, heldout={"size": 0.999, "minimum_labels": 2})
    report = preprocess(config, str(tmp_path / "out"))
    assert report.images == {SplitName.TRAIN: IMAGES, SplitName.HELDOUT: 0}

    config = config_of(catalog, heldout={"size": 0.5, "minimum_labels": 3})
    report = preprocess(config, str(tmp_path / "out2"))
    assert report.images[SplitName.HELDOUT] == 0  # Only 7.png has three labels, one unseen.


def test_a_second_run_does_nothing_and_damaged_shards_are_written_alone(finished, output, catalog):
    first = finished
    assert not first.nothing_to_do
    assert (first.shards_kept, first.shards_written) == (0, len(list(output.glob("*/*.tfrecord"))))
    files = [path for path in output.glob("*/*") if path.is_file()]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    events: list[Progress] = []
    second = preprocess(config_of(catalog), str(output), progress=events.append)
    assert second.nothing_to_do
    assert second.counts == first.counts
    assert {event.stage for event in events} == {Stage.READ_CATALOG}

    deleted, damaged = sorted((output / "train").glob("*.tfrecord"))[:2]
    deleted.unlink()
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    third = preprocess(config_of(catalog), str(output), verify=True, progress=events.append)
    assert (third.shards_kept, third.shards_written) == (first.shards_written - 2, 2)
    last = events[-1]
    assert (last.stage, last.done) == (Stage.WRITE_SHARDS, last.total)
    assert 0 < last.done < IMAGES
    rewritten = {
        deleted,
        damaged,
        *(path.with_suffix(".index.parquet") for path in (deleted, damaged)),
    }
    for path, (content, time) in before.items():
        assert path.read_bytes() == content or path.name in ("owner.json", "files.parquet")
        if path.parent.name != "plan":
            assert (path.stat().st_mtime_ns == time) == (path not in rewritten)


def test_a_job_that_failed_between_shards_goes_on(
    finished, tmp_path, catalog, dataset_bytes, monkeypatch
):
    broken = tmp_path / "broken"
    real = shards.encode_example

    def fail_in_the_third_shard(image):
        if len(list(broken.glob("*/*.index.parquet"))) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(image)

    monkeypatch.setattr(shards, "encode_example", fail_in_the_third_shard)
    with pytest.raises(PreprocessingError, match=r"the job failed: .*No space left .* run again"):
        preprocess(config_of(catalog), str(broken))
    with pytest.raises(DatasetError, match="unfinished"):
        Dataset.open(broken)
    assert not list(broken.rglob("*.tmp"))
    monkeypatch.undo()

    report = preprocess(config_of(catalog), str(broken))
    assert report.shards_kept == 2
    assert dataset_bytes(broken) == dataset_bytes(finished.dataset)


def test_what_was_just_written_is_not_read_again(tmp_path, catalog, monkeypatch):
    """Shards may lie far away; what the manifest says of them, who wrote them knew."""
    read_by_driver = []
    real = phase_two.find_shard

    def watch(name, root, *, verify):
        read_by_driver.append(name)
        return real(name, root, verify=verify)

    monkeypatch.setattr(phase_two, "find_shard", watch)
    report = preprocess(config_of(catalog), str(tmp_path / "out"))
    assert len(read_by_driver) == report.shards_written
    assert preprocess(config_of(catalog), str(tmp_path / "out")).nothing_to_do


def test_an_interrupted_repair_leaves_no_dataset_that_opens(output, catalog, monkeypatch):
    def fail(image):
        raise OSError(errno.ENOSPC, "No space left on device")

    sorted((output / "train").glob("*.tfrecord"))[0].unlink()
    monkeypatch.setattr(shards, "encode_example", fail)
    with pytest.raises(PreprocessingError, match="No space left"):
        preprocess(config_of(catalog), str(output))
    with pytest.raises(DatasetError, match="unfinished"):
        Dataset.open(output)


def test_a_damaged_plan_or_index_is_made_again(finished, output, catalog, dataset_bytes):
    damaged = [
        sorted((output / "plan").glob("train-*.parquet"))[0],
        sorted((output / "train").glob("*.index.parquet"))[1],
    ]
    for path in damaged:
        data = bytearray(path.read_bytes())
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        path.write_bytes(data)
    report = preprocess(config_of(catalog), str(output), verify=True)
    assert (report.shards_kept, report.shards_written) == (finished.shards_written - 1, 1)
    assert dataset_bytes(output) == dataset_bytes(finished.dataset)


def test_a_plan_that_lost_images_is_noticed_before_shards_are_written(
    tmp_path, catalog, monkeypatch
):
    """As when something else writes there."""
    real = make_plan.write_missing_work_items

    def lose_one(root, names):
        real(root, names)
        write_planned(root, names[0], read_table(plan_path(root, names[0])).slice(1))

    monkeypatch.setattr(make_plan, "write_missing_work_items", lose_one)
    with pytest.raises(PreprocessingError, match=r"(\d+) images are to be written, but the plan"):
        preprocess(config_of(catalog), str(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*/*.tfrecord"))


def test_other_settings_do_not_mix_with_a_dataset(output, catalog, dataset_bytes):
    before = dataset_bytes(output)
    other = config_of(catalog, images={"jpeg_quality": 50}, shards={"images_per_shard": 100})
    with pytest.raises(PreprocessingError, match=r"images\.jpeg_quality, shards\.images_per_shard"):
        preprocess(other, str(output))
    assert dataset_bytes(output) == before
    preprocess(other, str(output), overwrite=True)
    names = [name for name in dataset_bytes(output) if name.endswith("tfrecord")]
    assert names == [
        "heldout/heldout-00000-of-00001.tfrecord",
        "train/train-00000-of-00001.tfrecord",
    ]


def test_a_changed_picture_is_noticed(output, catalog, picture):
    path = catalog.parent / "3.png"
    original = path.read_bytes()
    path.write_bytes(picture(99))
    for shard in output.glob("*/*.tfrecord"):
        shard.unlink()
    message = r"3\.png: the file changed since it was checked \(1 of \d shards .* --overwrite"
    try:
        with pytest.raises(PreprocessingError, match=message):
            preprocess(config_of(catalog), str(output))
    finally:
        path.write_bytes(original)


def test_lost_images_are_noticed(output, catalog):
    """The job's own books: with one listed image more than there were, it refuses to finish."""
    (output / "manifest.json").unlink()
    plan = output / "plan" / "plan.json"
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"listed": IMAGES + 1}))
    with pytest.raises(PreprocessingError, match=r"41 images are listed, but 40 written \+ 0 rej"):
        preprocess(config_of(catalog), str(output))
    assert not (output / "manifest.json").exists()


def test_rare_labels_and_images_without_others(tmp_path, picture, write_csv):
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    rows = [("0.png", "a", 1.0), ("1.png", "a", 1), ("1.png", "b", 1), ("2.png", "b", 0)]
    rows += [("2.png", "a", 0.5), ("3.png", "rare", 1)]
    catalog = write_csv(tmp_path / "labels.csv", rows)
    config = config_of(catalog, labels={"minimum_count": 2}, heldout={"size": 0})
    dataset = Dataset.open(preprocess(config, str(tmp_path / "out")).dataset)
    assert dataset.label_names() == ["a"]
    assert {image.image_id: image.confidences for image in dataset.iterate("train")} == {
        "0.png": (1.0,),
        "1.png": (1.0,),
        "2.png": (0.5,),
    }
    assert pq.read_table(tmp_path / "out" / "rejected.parquet").to_pylist() == [
        {
            "image_id": "3.png",
            "reason": "no label left",
            "detail": "none of its labels is on 2 images (labels.minimum_count)",
        }
    ]

    config = config_of(catalog, heldout={"size": 0})
    dataset = Dataset.open(preprocess(config, str(tmp_path / "out2")).dataset)
    (image,) = (image for image in dataset.iterate("train") if image.image_id == "2.png")
    assert (image.label_ids, image.confidences, image.negative_ids) == ((0,), (0.5,), (1,))


def test_folders_and_parquet_give_the_same_dataset_as_csv(
    tmp_path, picture, write_csv, dataset_bytes
):
    names = ["animals/cats/0.png", "animals/1.png", "plants/2.png"]
    for seed, name in enumerate(names):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(picture(seed))
    rows = [(name, part, 1.0) for name in names for part in name.split("/")[:-1]]
    columns = dict(zip(("image_path", "label", "confidence"), zip(*rows, strict=True), strict=True))
    write_csv(tmp_path / "tree" / ".labels.csv", rows)
    pq.write_table(pa.table(columns), tmp_path / "tree" / ".labels.parquet")
    results = []
    for number, path in enumerate(("", ".labels.csv", ".labels.parquet")):
        output = tmp_path / f"out{number}"
        preprocess(config_of(tmp_path / "tree" / path, heldout={"size": 0}), str(output))
        results.append(dataset_bytes(output))
    assert results[0] == results[1] == results[2]
    assert len(results[0]) == 5


def test_an_empty_folder_of_pictures_costs_no_dataset(output, catalog, tmp_path):
    """As where nothing is mounted."""
    (tmp_path / "empty").mkdir()
    config = config_of(catalog, catalog={"image_root": str(tmp_path / "empty")})
    with pytest.raises(PreprocessingError, match="expected pictures, received an empty folder"):
        preprocess(config, str(output), overwrite=True)
    assert Dataset.open(output).num_classes


def test_many_rejections_and_duplicates_are_tables_in_parts(
    tmp_path, picture, write_csv, monkeypatch
):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
        (tmp_path / f"copy of {number}.png").write_bytes(picture(number))
    names = [f"{number}.png" for number in range(3)]
    rows = [(name, "a", 1) for name in [*names, *(f"copy of {name}" for name in names)]]
    rows += [(f"missing {number}.png", "a", 1) for number in range(4)]
    catalog = write_csv(tmp_path / "labels.csv", rows)
    whole = preprocess(config_of(catalog), str(tmp_path / "whole"))
    monkeypatch.setattr(dataset_plan, "FEW_ROWS", 2)
    parted = preprocess(config_of(catalog), str(tmp_path / "parted"))
    assert (parted.counts, parted.rejected) == (whole.counts, whole.rejected)
    assert (parted.counts.rejected, parted.counts.duplicates) == (4, 3)
    assert (whole.rejected_table, parted.rejected_table) == ("rejected.parquet", "rejected/")
    for name in ("rejected", "duplicates"):
        assert not (tmp_path / "parted" / f"{name}.parquet").exists()
        parts = sorted((tmp_path / "parted" / name).glob("part-*.parquet"))
        tables = [pq.read_table(path) for path in parts]
        found = sorted(
            row for table in tables for row in map(tuple, map(dict.values, table.to_pylist()))
        )
        expected = pq.read_table(tmp_path / "whole" / f"{name}.parquet").to_pylist()
        assert found == [tuple(row.values()) for row in expected]
    assert preprocess(config_of(catalog), str(tmp_path / "parted")).nothing_to_do
    (parts[0]).unlink()
    preprocess(config_of(catalog), str(tmp_path / "parted"))
    assert parts[0].is_file()
    monkeypatch.undo()
    again = preprocess(config_of(catalog), str(tmp_path / "parted"), overwrite=True)
    assert again.rejected == whole.rejected
    assert not list((tmp_path / "parted" / "rejected").glob("*"))


def test_a_catalog_that_changes_while_it_is_read_is_noticed(
    tmp_path, picture, write_csv, monkeypatch
):
    """Else a dataset would bear the fingerprint of another catalog."""
    (tmp_path / "0.png").write_bytes(picture(0))
    catalog = write_csv(tmp_path / "labels.csv", [("0.png", "a", 1)])
    real = checking.check_image

    def add_a_row(image_id, **job):
        with catalog.open("a") as file:
            file.write("0.png,b,1\n")
        return real(image_id, **job)

    monkeypatch.setattr(checking, "check_image", add_a_row)
    with pytest.raises(
        PreprocessingError, match=r"labels\.csv: the catalog changed .* --overwrite"
    ):
        preprocess(config_of(catalog), str(tmp_path / "out"))
    monkeypatch.undo()
    with pytest.raises(PreprocessingError, match="other input"):
        preprocess(config_of(catalog), str(tmp_path / "out"))
    report = preprocess(config_of(catalog), str(tmp_path / "out"), overwrite=True)
    assert report.num_classes == 2


def test_nodes_of_a_cluster_have_another_current_folder(catalog, tmp_path, monkeypatch):
    """What they are told of the output leads there from wherever they are."""
    told = []

    def open_executor(config, dataset, images, plan):
        told.append((all(folder.is_absolute() for folder in images), str(plan)))
        raise PreprocessingError("no cluster")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "open_executor", open_executor)
    with pytest.raises(PreprocessingError, match="no cluster"):
        preprocess(config_of(catalog, executor="ray"), "dataset")
    assert told == [(True, str(tmp_path / "dataset" / "plan"))]
