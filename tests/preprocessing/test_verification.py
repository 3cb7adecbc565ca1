"""A finished dataset is read to the byte, wherever it lies, and mended to the byte."""

import shutil
from pathlib import Path

import pytest
from upath import UPath

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.output import sole_writer
from manylabel.preprocessing.progress import Meter, Stage
from manylabel.preprocessing.repair import repair
from manylabel.preprocessing.verification import verify
from manylabel.preprocessing.writing import shards as writing
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName

pytestmark = pytest.mark.slow

IMAGES = 10


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, picture, write_csv):
    """Pictures and their catalog; one of them is broken, and one is there twice."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(IMAGES):
        (folder / f"{number}.png").write_bytes(picture(number, size=(16, 16)))
    (folder / "broken.png").write_bytes(b"")
    (folder / "twice.png").write_bytes(picture(0, size=(16, 16)))
    names = [path.name for path in sorted(folder.glob("*.png"))]
    return write_csv(
        folder / "labels.csv", [(name, f"label {place % 2}", 1) for place, name in enumerate(names)]
    )


def config_of(catalog):
    return PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(catalog)},
            "heldout": {"size": 0.3},
            "shards": {"images_per_shard": 3},
            "executor": "inline",
        }
    )


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    root = tmp_path_factory.mktemp("finished") / "dataset"
    preprocess(config_of(pictures), str(root))
    return root


@pytest.fixture
def root(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "moved"))


def bytes_of(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(Path(root).rglob("*"))
        if path.is_file() and path.name not in ("lock", "status.json")
    }


def damages_of(root):
    return verify(Dataset.open(root), Meter())


def shard_paths(root, side="train"):
    return [shard.path for shard in Dataset.open(root).split(side).shards if shard.records]


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def repaired(root, **options):
    dataset = Dataset.open(root)
    return repair(dataset, verify(dataset, Meter()), Meter(), **options)


def test_a_moved_dataset_is_whole_and_is_counted_shard_by_shard(root):
    meter = Meter()
    assert verify(Dataset.open(root), meter) == []
    number = sum(len(Dataset.open(root).split(side).shards) for side in SplitName)
    (told,) = meter.read()
    assert (told.stage, told.done, told.total) == (Stage.VERIFY_SHARDS, number, number)


def test_a_flipped_bit_is_found_and_placed_and_mended_to_the_byte(root, finished):
    (path, *_) = shard_paths(root)
    flip(root / path, -10)
    (damage,) = damages_of(root)
    assert damage.path == path
    last = Dataset.open(root).read_index(damage.shard).column("byte_offset")[-1].as_py()
    assert f"the first damaged record begins at byte {last:,}; copy it again" in damage.problem
    done = repaired(root)
    assert (done.mended, done.left) == ([path], {})
    assert bytes_of(root) == bytes_of(finished)


def test_everything_that_the_plan_knows_is_mended(root, finished, lfs_pointer):
    """Shards of both sides, one with its index, another's index alone, and the readers' tables."""
    first, second, *_ = shard_paths(root)
    (held, *_) = shard_paths(root, "heldout")
    index = second.replace(".tfrecord", ".index.parquet")
    (root / first).write_bytes(lfs_pointer)
    (root / first.replace(".tfrecord", ".index.parquet")).write_bytes(b"")
    (root / index).unlink()
    (root / held).unlink()
    (root / "labels.parquet").write_bytes(lfs_pointer)
    (root / "heldout_images.parquet").write_bytes(b"PAR1")
    paths = {damage.path for damage in damages_of(root)}
    assert len(paths) == 6
    done = repaired(root)
    assert (set(done.mended), done.left) == (paths, {})
    assert damages_of(root) == []
    assert bytes_of(root) == bytes_of(finished)


def test_preprocessing_finds_nothing_to_do_afterwards(root, pictures):
    (root / shard_paths(root)[0]).write_bytes(b"")
    repaired(root)
    assert preprocess(config_of(pictures), str(root)).nothing_to_do


def test_pictures_that_moved_are_named(root, finished, pictures, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(pictures.parent, elsewhere)
    plan = root / "plan/plan.json"
    gone = str(tmp_path / "gone")
    plan.write_text(plan.read_text().replace(str(pictures.parent), gone))
    (path, *_) = shard_paths(root)
    (root / path).unlink()
    reason = repaired(root).left[path]
    assert reason == f"its pictures are not in {gone}; name where they lie now with --image-root"
    assert repaired(root, image_roots={SplitName.TRAIN: str(elsewhere)}).mended == [path]
    assert (root / path).read_bytes() == (finished / path).read_bytes()


def test_pictures_that_are_others_mend_nothing_and_change_nothing(root, pictures, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(pictures.parent, elsewhere)
    (path, other, *_) = shard_paths(root)
    flip(root / path, 20)
    flip(root / other, 20)
    for image in Dataset.open(root).read_index(damages_of(root)[0].shard).column("image_id"):
        (elsewhere / image.as_py()).write_bytes(b"another")
    before = bytes_of(root)
    done = repaired(root, image_roots={SplitName.TRAIN: str(elsewhere)})
    assert done.mended == [other]
    assert "the file changed since it was checked" in done.left[path]
    assert bytes_of(root)[path] == before[path]
    assert Dataset.open(root)


def test_a_version_that_stores_pictures_otherwise_writes_nothing(root, monkeypatch):
    (path, *_) = shard_paths(root)
    flip(root / path, -10)
    before, real = bytes_of(root), writing.store

    def other(data, policy):
        return real(data, policy.model_copy(update={"short_side_limit": 8}))

    monkeypatch.setattr(writing, "store", other)
    assert "give other bytes here than when the dataset was made" in repaired(root).left[path]
    assert bytes_of(root) == before


def test_what_the_plan_does_not_know_is_left_with_its_remedy(root):
    (path, *_) = shard_paths(root)
    flip(root / path, -10)
    for name in ("rejected.parquet", "duplicates.parquet"):
        (root / name).write_bytes(b"PAR1")
    shutil.rmtree(root / "plan")
    left = repaired(root).left
    assert set(left) == {path, "rejected.parquet", "duplicates.parquet"}
    assert "there is no plan/ of this dataset" in left[path]
    assert "run `manylabel preprocess` with the settings again" in left["rejected.parquet"]


def test_a_plan_of_another_dataset_is_none(root):
    plan = root / "plan/plan.json"
    fingerprint = Dataset.open(root).manifest.fingerprint
    plan.write_text(plan.read_text().replace(fingerprint, "0" * 64))
    (path, *_) = shard_paths(root)
    (root / path).unlink()
    assert "there is no plan/ of this dataset" in repaired(root).left[path]


def test_a_lost_work_item_is_told_and_an_index_is_made_without_it(root):
    first, second, *_ = shard_paths(root)
    for path in (first, second):
        (root / "plan" / Path(path).name.replace(".tfrecord", ".parquet")).unlink()
    (root / first).unlink()
    (root / second.replace(".tfrecord", ".index.parquet")).unlink()
    done = repaired(root)
    assert done.mended == [second.replace(".tfrecord", ".index.parquet")]
    assert "no such file" in done.left[first]
    assert [damage.path for damage in damages_of(root)] == [first]


def test_it_waits_for_no_other_job(root):
    (root / shard_paths(root)[0]).unlink()
    damages = damages_of(root)
    with sole_writer(UPath(root)), pytest.raises(PreprocessingError, match="another job is writ"):
        repair(Dataset.open(root), damages, Meter())


def test_on_other_storage(root, finished):
    far = UPath("memory://verified/dataset")
    for path, data in bytes_of(root).items():
        (far / path).parent.mkdir(parents=True, exist_ok=True)
        (far / path).write_bytes(data)
    assert damages_of(str(far)) == []
    (path, *_) = shard_paths(str(far))
    data = (far / path).read_bytes()
    (far / path).write_bytes(data[:-1] + b"?")
    (damage,) = damages_of(str(far))
    assert str(far / path) in damage.problem
    assert repaired(str(far)).mended == [path]
    assert (far / path).read_bytes() == (finished / path).read_bytes()
    far.fs.rm(far.path, recursive=True)
