"""A held-out set of its own in the whole job: its forms, what a second run does, its errors."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from manylabel.pipeline.score import score_predictions
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.planning import make_plan
from manylabel.preprocessing.progress import Stage
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import UNKNOWN_LABELS_SCHEMA, SplitName
from manylabel.storage.tables import read_table

pytestmark = pytest.mark.slow

TRAIN, HELDOUT = SplitName.TRAIN, SplitName.HELDOUT
IMAGES = range(24)


def labels_of(number):
    return ["all", f"third {number % 3}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, picture, write_csv):
    """`train` and `test` with pictures of the same names: those of 0 to 15, and of 14 to 23.

    `labels.csv` of each, and beside them, as rows of one catalog, `both.csv` and `both.parquet`.
    """
    root = tmp_path_factory.mktemp("catalogs")
    rows: dict[SplitName, list[tuple]] = {TRAIN: [], HELDOUT: []}
    for side, seeds in ((TRAIN, range(16)), (HELDOUT, range(14, 24))):
        (root / side).mkdir()
        for number, seed in enumerate(seeds):
            (root / side / f"{number}.png").write_bytes(picture(seed))
            rows[side] += [(f"{number}.png", label, 1) for label in labels_of(seed)]
    rows[HELDOUT] += [("3.png", "unknown", 1), ("4.png", "unknown", 1), ("5.png", " ", 1)]
    rows[HELDOUT] += [("9.png", "all", 7), ("gone.png", "all", 1)]
    for side in rows:
        write_csv(root / side / "labels.csv", rows[side])
    both = [(f"{side}/{name}", *others, side) for side in rows for name, *others in rows[side]]
    write_csv(root / "both.csv", both, ("image_path", "label", "confidence", "subset"))
    pq.write_table(pyarrow.csv.read_csv(root / "both.csv"), root / "both.parquet")
    return root


def config_of(train, given, **others):
    heldout = {"catalog": given} | others.pop("heldout", {})
    tree = {"catalog": train, "heldout": heldout, "executor": "inline"} | others
    return PreprocessingConfig.model_validate(tree)


def two_catalogs(root, **others):
    paths = [{"path": str(root / side / "labels.csv")} for side in (TRAIN, HELDOUT)]
    return config_of(*paths, **others)


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("finished") / "dataset"
    return preprocess(two_catalogs(folder), str(root))


@pytest.fixture
def output(finished, tmp_path):
    return Path(shutil.copytree(finished.dataset, tmp_path / "dataset"))


def heldout_ids(root):
    return [image.image_id for image in Dataset.open(root).iterate(HELDOUT)]


def test_each_side_has_the_pictures_of_its_own_folder(folder, finished):
    """A name is another picture in each catalog, and tables say of which catalog an image is."""
    assert finished.images == {TRAIN: 14, HELDOUT: 10}
    assert (finished.counts.listed, finished.counts.rejected) == (27, 3)
    root = Path(finished.dataset)
    gone = read_table(root / "rejected.parquet").to_pylist()
    assert [(row["image_id"], row["detail"]) for row in gone] == [
        ("14.png", "0.png has the same bytes"),
        ("15.png", "1.png has the same bytes"),
    ]
    rejected = read_table(root / "heldout_rejected.parquet").to_pylist()
    assert [(row["image_id"], row["reason"]) for row in rejected] == [
        ("5.png", "label: empty"),
        ("9.png", "label: confidence outside [0, 1]"),
        ("gone.png", "missing file"),
    ]
    unknown = read_table(root / "unknown_labels.parquet", UNKNOWN_LABELS_SCHEMA).to_pylist()
    assert unknown == [{"name": "unknown", "images": 2}]
    dataset = Dataset.open(root)
    names = dataset.label_names()
    for image in dataset.iterate(HELDOUT):
        seed = 14 + int(image.image_id.removesuffix(".png"))
        assert {names[number] for number in image.label_ids} == set(labels_of(seed))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_column_that_says_the_split_is_the_same_in_other_clothes(
    folder, finished, tmp_path, suffix
):
    one = {"path": str(folder / f"both.{suffix}"), "split_column": "subset"}
    config = config_of(one | {"split": "train"}, one | {"split": "heldout"})
    report = preprocess(config, str(tmp_path / "out"))
    assert (report.rejected, report.heldout_rejected, report.unknown_labels) == (
        finished.rejected,
        finished.heldout_rejected,
        finished.unknown_labels,
    )
    assert report.images == finished.images
    assert read_table(tmp_path / "out" / "labels.parquet").equals(
        read_table(f"{finished.dataset}/labels.parquet")
    )
    assert sorted(heldout_ids(tmp_path / "out")) == sorted(
        f"heldout/{name}" for name in heldout_ids(finished.dataset)
    )


def test_so_is_a_folder_beside_the_training_folder(picture, tmp_path):
    for side, seeds in (("train", range(12)), ("validation", range(10, 16))):
        for seed in seeds:
            path = tmp_path / side / f"kind {seed % 2}" / f"{seed}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(seed))
    config = config_of({"path": str(tmp_path / "train")}, {"path": str(tmp_path / "validation")})
    report = preprocess(config, str(tmp_path / "out"))
    assert report.images == {TRAIN: 10, HELDOUT: 6}
    assert Dataset.open(report.dataset).label_names() == ["kind 0", "kind 1"]
    assert sum(report.rejected.values()) == 2


def test_what_one_catalog_calls_equal_is_merged_there_alone(picture, write_csv, tmp_path):
    """With labels of the image's own catalog; equal files only, so that no look ties them."""
    for side in (TRAIN, HELDOUT):
        (tmp_path / side).mkdir()
        for name in ("a.png", "b.png"):
            (tmp_path / side / name).write_bytes(picture(1))
        (tmp_path / side / "c.png").write_bytes(picture(2 if side is TRAIN else 3))
        rows = [("a.png", "cat", 1), ("b.png", "dog", 1), ("c.png", "cat", 1), ("c.png", "dog", 1)]
        write_csv(tmp_path / side / "labels.csv", rows if side is TRAIN else rows[:3])
    config = two_catalogs(tmp_path, heldout={"duplicate_distance": None})
    report = preprocess(config, str(tmp_path / "out"))
    assert report.images == {TRAIN: 1, HELDOUT: 2}
    assert report.counts.duplicates == 2
    for name in ("duplicates.parquet", "heldout_duplicates.parquet"):
        (copy,) = read_table(tmp_path / "out" / name).to_pylist()
        assert copy == {"image_id": "b.png", "kept_image_id": "a.png"}
    labels = {
        image.image_id: image.label_ids for image in Dataset.open(report.dataset).iterate(HELDOUT)
    }
    assert labels == {"a.png": (0, 1), "c.png": (0,)}


def test_every_executor_writes_the_same(folder, finished, tmp_path, dataset_bytes):
    config = two_catalogs(folder, executor="processes", runner={"processes": 2})
    report = preprocess(config, str(tmp_path / "out"))
    assert report.content_digest == finished.content_digest
    assert dataset_bytes(tmp_path / "out") == dataset_bytes(finished.dataset)


def test_a_second_run_does_nothing_and_a_lost_held_out_shard_is_written_again(
    folder, finished, output, dataset_bytes
):
    assert preprocess(two_catalogs(folder), str(output)).nothing_to_do
    (shard,) = output.glob("heldout/*.tfrecord")
    shard.unlink()
    again = preprocess(two_catalogs(folder), str(output))
    assert (again.shards_written, again.shards_kept) == (1, 1)
    assert dataset_bytes(output) == dataset_bytes(finished.dataset)


@pytest.mark.parametrize(
    "name",
    ["unknown_labels.parquet", "heldout_rejected.parquet", "heldout_duplicates.parquet"],
)
def test_a_lost_table_of_the_held_out_catalog_is_made_again(folder, finished, output, name):
    before = (output / name).read_bytes()
    (output / name).unlink()
    stages = []
    again = preprocess(
        two_catalogs(folder), str(output), progress=lambda event: stages.append(event)
    )
    assert (output / name).read_bytes() == before
    assert again.content_digest == finished.content_digest
    looked = [event.done for event in stages if event.stage is Stage.CHECK_IMAGES]
    assert looked[-1] == 27, "of pictures, what was found was kept"


def test_held_out_pictures_may_lie_elsewhere_if_they_are_the_same(
    folder, finished, output, tmp_path, picture, monkeypatch
):
    """Those of the other side, which may be a download each, are not read for it."""
    read, real = set(), make_plan.fetch

    def fetch(root, image_id, max_bytes):
        read.add(str(root))
        return real(root, image_id, max_bytes)

    monkeypatch.setattr(make_plan, "fetch", fetch)
    moved = tmp_path / "moved"
    shutil.copytree(folder / HELDOUT, moved)
    paths = [{"path": str(folder / TRAIN / "labels.csv")}, {"path": str(moved / "labels.csv")}]
    assert preprocess(config_of(*paths), str(output)).content_digest == finished.content_digest
    assert read == {str(moved)}
    assert preprocess(config_of(*paths), str(output)).nothing_to_do
    other = tmp_path / "other"
    shutil.copytree(folder / HELDOUT, other)
    (other / "2.png").write_bytes(picture(99))
    paths[1] = {"path": str(other / "labels.csv")}
    with pytest.raises(
        PreprocessingError, match=rf"{other}/2\.png: expected the picture .*{moved}:"
    ):
        preprocess(config_of(*paths), str(output))


def test_missing_held_out_pictures_are_looked_at_again(folder, tmp_path, picture):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    first = preprocess(two_catalogs(copy), str(tmp_path / "out"))
    assert first.retryable == 1
    (copy / HELDOUT / "gone.png").write_bytes(picture(40))
    again = preprocess(two_catalogs(copy), str(tmp_path / "out"), retry_rejected=True)
    assert (again.retried, again.retryable, again.images[HELDOUT]) == (1, 0, 11)


def test_a_dataset_of_other_held_out_images_is_refused(folder, output, tmp_path):
    text = (folder / HELDOUT / "labels.csv").read_text()
    shutil.copytree(folder / HELDOUT, tmp_path / "other")
    (tmp_path / "other" / "labels.csv").write_text(text.replace("third 0", "third 9"))
    paths = [folder / TRAIN / "labels.csv", tmp_path / "other" / "labels.csv"]
    config = config_of(*({"path": str(path)} for path in paths))
    with pytest.raises(PreprocessingError, match=r"other input \(the catalog or the version"):
        preprocess(config, str(output))
    with pytest.raises(PreprocessingError, match=r"other input \(different heldout\.catalog\)"):
        preprocess(config_of({"path": str(paths[0])}, None), str(output))
    report = preprocess(config_of({"path": str(paths[0])}, None), str(output), overwrite=True)
    assert (report.heldout_rejected_table, report.unknown_labels) == (None, {})
    assert not list(output.glob("heldout_rejected*"))


def wrong(config, tmp_path):
    with pytest.raises(PreprocessingError) as caught:
        preprocess(config, str(tmp_path / "out"))
    (line,) = str(caught.value).splitlines()
    return line


def test_errors_name_the_held_out_catalogs_settings(folder, tmp_path):
    train = {"path": str(folder / TRAIN / "labels.csv")}
    both = {"path": str(folder / "both.csv")}
    heldout = {"path": str(folder / HELDOUT / "labels.csv")}
    for catalog, message in (
        (
            {"path": str(folder / "none.csv")},
            "no such catalog; set preprocessing.heldout.catalog.path",
        ),
        (
            heldout | {"label_column": "tag"},
            "set preprocessing.heldout.catalog.label_column to one",
        ),
        (heldout | {"image_root": "nowhere"}, "set preprocessing.heldout.catalog.image_root to"),
        (heldout | {"format": "folder"}, "set preprocessing.heldout.catalog.format to auto"),
        (
            {"path": str(folder / HELDOUT), "split_column": "a", "split": "b"},
            "a catalog of format folder has no use for preprocessing.heldout.catalog.split_column",
        ),
        (
            {"path": str(folder / HELDOUT), "image_root": str(folder)},
            "a catalog of format folder has no use for preprocessing.heldout.catalog.image_root",
        ),
        (
            both | {"split_column": "subset", "split": "validation"},
            "no row has 'validation' in the column 'subset'; expected at least one image",
        ),
        (both | {"split_column": "part", "split": "x"}, "expected a column 'part'"),
    ):
        assert message in wrong(config_of(train, catalog), tmp_path)
    assert not (tmp_path / "out").exists()


def test_nothing_left_on_a_side_is_an_error(folder, tmp_path, write_csv, picture):
    train = {"path": str(folder / TRAIN / "labels.csv")}
    line = wrong(config_of(train, train), tmp_path)
    assert "no image is left to train on (16 equal to a held-out image)" in line
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes(picture(50))
    given = write_csv(tmp_path / "other" / "labels.csv", [("a.png", "never seen", 1)])
    line = wrong(config_of(train, {"path": str(given)}), tmp_path / "again")
    assert "labels.csv: no image is left to hold out (1 labels that training has not)" in line
    assert line.endswith("heldout_rejected.parquet")


def test_a_table_of_commonness_weighs_the_held_out_set(finished, tmp_path, write_csv):
    """The weighted value by hand: one prediction an image, right where the label is "third 0"."""
    dataset = Dataset.open(finished.dataset)
    names = dataset.label_names()
    third = names.index("third 0")
    images = list(dataset.iterate(HELDOUT))
    predictions = tmp_path / "predictions.parquet"
    columns = {
        "image_id": [image.image_id for image in images],
        "labels": [["third 0"]] * len(images),
        "scores": [[0.9]] * len(images),
    }
    pq.write_table(pa.table(columns), predictions)
    weights = write_csv(
        tmp_path / "weights.csv",
        [("third 0", 3), ("all", 1), ("unknown", 100)],
        ("label", "weight"),
    )
    summary = score_predictions(
        str(predictions),
        finished.dataset,
        None,
        0,
        [
            *("eval.weights.kind=csv", f"eval.weights.csv={weights}", "eval.weights.missing=0"),
            *("eval.form=image", "eval.k=1", "eval.precision_at=[1]"),
        ],
        print,
    )
    expected = [3 / (3 + 1) if third in image.label_ids else 0 for image in images]
    assert summary.headline.value == pytest.approx(sum(expected) / len(expected))
