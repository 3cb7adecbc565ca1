"""What a job that was stopped, or is asked again, does and leaves alone."""

import errno
import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors import Lost
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.pictures import checking, fetch
from manylabel.preprocessing.planning import found_now
from manylabel.preprocessing.planning.dataset_plan import DatasetPlan
from manylabel.preprocessing.progress import Meter
from manylabel.preprocessing.rejections import RejectReason
from manylabel.preprocessing.running import running
from manylabel.preprocessing.writing import shards
from manylabel.preprocessing.writing.phase_two import find_shards, write_shards
from manylabel.storage.errors import UnreachableTableError
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import read_table

pytestmark = pytest.mark.slow

IMAGES = 24
PART = 5


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(checking, "PART_IMAGES", PART)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory, picture, write_csv):
    """Pictures of which one is broken, one missing, one too small, and one has no label."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(IMAGES):
        (folder / f"{number:02d}.png").write_bytes(picture(number))
    (folder / "05.png").write_bytes(b"no picture")
    (folder / "17.png").unlink()
    (folder / "20.png").write_bytes(picture(20, size=(4, 4)))
    rows = [(f"{number:02d}.png", f"label {number % 3}", 1) for number in range(IMAGES)]
    return write_csv(folder / "labels.csv", [*rows, ("none.png", "", 1)])


@pytest.fixture(scope="module")
def finished(catalog, tmp_path_factory):
    """A finished dataset; tests that change something take a copy."""
    root = tmp_path_factory.mktemp("finished") / "dataset"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checking, "PART_IMAGES", PART)
        preprocess(config_of(catalog), str(root))
    return root


@pytest.fixture
def root(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "dataset"))


def config_of(catalog, **settings):
    base = {
        "catalog": {"path": str(catalog)},
        "heldout": {"size": 0.3},
        "shards": {"images_per_shard": 6},
        "executor": "inline",
    }
    return PreprocessingConfig.model_validate(base | settings)


@pytest.fixture
def looked_at(monkeypatch):
    """The images that were fetched and decoded, in order."""
    images = []
    real = checking.check_image

    def watch(image_id, **job):
        images.append(image_id)
        return real(image_id, **job)

    monkeypatch.setattr(checking, "check_image", watch)
    return images


def fail_at(monkeypatch, module, name, call):
    """As when a disk is full, or gone, at some moment."""
    real, calls = getattr(module, name), []

    def fail(*arguments, **options):
        calls.append(arguments)
        if len(calls) == call:
            raise OSError(errno.EIO, "Input/output error", "/far/away")
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, fail)


@pytest.mark.parametrize("stopped_at", [1, PART + 1, IMAGES])
def test_what_was_checked_is_not_checked_again(
    tmp_path, catalog, finished, looked_at, monkeypatch, dataset_bytes, stopped_at
):
    with monkeypatch.context() as patch:
        fail_at(patch, checking, "fetch", stopped_at)
        with pytest.raises(PreprocessingError, match=r"Input/output error.*/far/away.*run again"):
            preprocess(config_of(catalog), str(tmp_path / "stopped"))
    assert len(looked_at) == stopped_at
    looked_at.clear()
    preprocess(config_of(catalog), str(tmp_path / "stopped"))
    assert len(looked_at) == IMAGES - (stopped_at - 1) // PART * PART
    assert len(set(looked_at)) == len(looked_at)
    assert dataset_bytes(tmp_path / "stopped") == dataset_bytes(finished)


def test_parts_that_cannot_be_used_are_made_again(tmp_path, catalog, looked_at, monkeypatch):
    root = tmp_path / "dataset"
    with monkeypatch.context() as patch:
        fail_at(patch, checking, "fetch", 20)
        with pytest.raises(PreprocessingError):
            preprocess(config_of(catalog), str(root))
    first, second, third = sorted((root / "plan" / "checked").iterdir())
    damaged = bytearray(first.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    first.write_bytes(damaged)
    second.write_bytes(third.read_bytes())  # Whole, and of other images.
    looked_at.clear()
    report = preprocess(config_of(catalog), str(root))
    assert len(looked_at) == IMAGES - PART
    assert report.counts.written == IMAGES - 3


def test_parts_are_of_one_place(tmp_path, catalog, looked_at, monkeypatch):
    """The same names elsewhere may be other pictures."""
    root = tmp_path / "dataset"
    with monkeypatch.context() as patch:
        fail_at(patch, checking, "fetch", 20)
        with pytest.raises(PreprocessingError):
            preprocess(config_of(catalog), str(root))
    looked_at.clear()
    moved = shutil.copytree(catalog.parent, tmp_path / "moved")
    preprocess(config_of(moved / "labels.csv"), str(root))
    assert len(looked_at) == IMAGES


@pytest.fixture
def own_catalog(catalog, tmp_path):
    return shutil.copytree(catalog.parent, tmp_path / "pictures") / "labels.csv"


def test_rejected_images_are_tried_again_when_asked_for(
    tmp_path, own_catalog, picture, looked_at, dataset_bytes
):
    catalog, root = own_catalog, tmp_path / "dataset"
    first = preprocess(config_of(catalog), str(root))
    assert first.retryable == 2
    assert first.rejected[RejectReason.NO_LABEL] == 1

    (catalog.parent / "05.png").write_bytes(picture(5))
    (catalog.parent / "17.png").write_bytes(picture(17))
    assert preprocess(config_of(catalog), str(root)).nothing_to_do
    assert preprocess(config_of(catalog), str(root)).retryable == 2
    looked_at.clear()
    second = preprocess(config_of(catalog), str(root), retry_rejected=True)
    assert looked_at == ["05.png", "17.png"]
    assert (second.retryable, second.counts.written) == (0, IMAGES - 1)
    preprocess(config_of(catalog), str(tmp_path / "fresh"))
    assert dataset_bytes(root) == dataset_bytes(tmp_path / "fresh")
    again = preprocess(config_of(catalog), str(root), retry_rejected=True)
    assert again.nothing_to_do


@pytest.fixture
def linked(tmp_path, picture, write_csv):
    """A catalog of relative paths and of one below a link, and the folder of pictures."""
    pictures, link = tmp_path / "pictures", tmp_path / "link"
    pictures.mkdir()
    link.symlink_to(pictures)
    for number in range(8):
        (pictures / f"{number}.png").write_bytes(picture(number))
    rows = [*((f"{number}.png", "sea", 1) for number in range(7)), (f"{link}/7.png", "sea", 1)]
    return write_csv(tmp_path / "labels.csv", rows), pictures


def from_root(catalog, image_root):
    paths = {"path": str(catalog), "image_root": str(image_root)}
    return PreprocessingConfig.model_validate(config_of(catalog).model_dump() | {"catalog": paths})


def test_a_root_whose_spelling_takes_in_more_paths_is_noticed(tmp_path, linked, monkeypatch):
    """It is the same folder, so neither the plan nor the fingerprint shows it."""
    catalog, pictures = linked
    root, link = tmp_path / "dataset", tmp_path / "link"
    first = preprocess(from_root(catalog, pictures), str(root))
    assert first.rejected == {RejectReason.BAD_PATH: 1}
    manifest = (root / "manifest.json").read_bytes()
    message = f"1 rejected paths, such as '{link}/7.png', are below .*image_root .*--retry-rejected"
    with pytest.raises(PreprocessingError, match=message):
        preprocess(from_root(catalog, link), str(root))
    assert (root / "manifest.json").read_bytes() == manifest
    reads = []

    def read(part):
        reads.append(part)
        return read_table(part)

    monkeypatch.setattr(found_now, "read_table", read)
    assert preprocess(from_root(catalog, pictures), str(root)).nothing_to_do
    assert len(reads) == 1, "of a table that may be large"
    for same in (f"{pictures}/", pictures / "." / ".." / "pictures"):
        assert preprocess(from_root(catalog, same), str(root)).nothing_to_do
    again = preprocess(from_root(catalog, f"{link}/"), str(root), retry_rejected=True)
    assert (again.retried, again.rejected, again.counts.written) == (1, {}, 8)
    assert preprocess(from_root(catalog, link), str(root)).nothing_to_do


def test_a_root_that_has_files_that_were_missing_is_noticed(root, catalog, tmp_path, picture):
    moved, manifest = tmp_path / "moved", (root / "manifest.json").read_bytes()
    shutil.copytree(catalog.parent, moved)
    (moved / "17.png").write_bytes(picture(17))
    with pytest.raises(PreprocessingError, match=r"such as '17\.png'; add --retry-rejected"):
        preprocess(from_root(catalog, moved), str(root))
    assert (root / "manifest.json").read_bytes() == manifest
    (moved / "17.png").unlink()
    assert preprocess(from_root(catalog, moved), str(root)).nothing_to_do


def test_trying_in_vain_changes_nothing(root, catalog, dataset_bytes, looked_at):
    before, manifest = dataset_bytes(root), (root / "manifest.json").read_bytes()
    report = preprocess(config_of(catalog), str(root), retry_rejected=True)
    assert looked_at == ["05.png", "17.png"]
    assert report.nothing_to_do
    assert (dataset_bytes(root), (root / "manifest.json").read_bytes()) == (before, manifest)


def test_an_interrupted_retry_keeps_what_it_found(tmp_path, own_catalog, picture, monkeypatch):
    catalog, root = own_catalog, tmp_path / "dataset"
    preprocess(config_of(catalog), str(root))
    (catalog.parent / "05.png").write_bytes(picture(5))
    (catalog.parent / "17.png").write_bytes(picture(17))
    with monkeypatch.context() as patch:
        fail_at(patch, checking, "fetch", 2)
        with pytest.raises(PreprocessingError):
            preprocess(config_of(catalog), str(root), retry_rejected=True)
    assert not (root / "manifest.json").exists()
    report = preprocess(config_of(catalog), str(root))
    assert (report.counts.written, report.retryable) == (IMAGES - 2, 1)


class GivesUp:
    """An executor on a machine that is short of memory."""

    node = "here"

    def map(self, function, items, batch, task=None):
        yield from (Lost("its process ended three times") for _ in items)


def test_what_cannot_be_looked_at_is_no_damage(root):
    """The pictures may be gone by now: then the shards are all there is."""
    plan = DatasetPlan.read_at(UPath(root))
    assert plan is not None
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with (
        running(GivesUp(), Meter()),
        pytest.raises(PreprocessingError, match=r"looked at: its process ended.*fewer processes"),
    ):
        find_shards(plan, UPath(root), verify=True)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_shards_that_are_given_up_cost_nothing_else(root, catalog):
    """No advice to overwrite: that would delete what was found in the pictures."""
    plan = DatasetPlan.read_at(UPath(root))
    assert plan is not None
    roots = {SplitName.TRAIN: UPath(catalog.parent)}
    with (
        running(GivesUp(), Meter()),
        pytest.raises(
            PreprocessingError,
            match=r"train-0\S*: its process .*\(2 of 2 shards .* finished work is kept",
        ),
    ):
        write_shards(plan.names[:2], config_of(catalog), roots, UPath(root))


def test_one_job_at_a_time_in_a_process(tmp_path, catalog):
    with (
        running(GivesUp(), Meter()),
        pytest.raises(PreprocessingError, match="one preprocessing job at a time"),
    ):
        preprocess(config_of(catalog), str(tmp_path / "dataset"))


@pytest.mark.parametrize(
    "runner",
    [{"scratch": "/nowhere/at/all"}, {"options": ("--runner=FlinkRunner", "--nonsense=1")}],
)
def test_a_wrong_setting_of_the_runner_costs_no_dataset(root, catalog, runner):
    before = (root / "manifest.json").read_bytes()
    with pytest.raises(PreprocessingError, match=r"preprocessing\.runner\."):
        preprocess(config_of(catalog, runner=runner), str(root), retry_rejected=True)
    assert (root / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("protocol", ["", "file://"])
def test_a_name_that_looks_like_a_pattern(own_catalog, tmp_path, picture, protocol):
    """Else what was found in pictures outlives --overwrite, and so do shards."""
    root = f"{protocol}{tmp_path}/d[2]?a*b"
    preprocess(config_of(own_catalog), root)
    (own_catalog.parent / "05.png").write_bytes(picture(5))
    settings = {"shards": {"images_per_shard": 100}}
    report = preprocess(config_of(own_catalog, **settings), root, overwrite=True)
    assert report.counts.written == IMAGES - 2
    assert len(list((UPath(root) / "train").iterdir())) == 2


class TestFinished:
    @pytest.mark.parametrize(
        ("name", "damage"),
        [
            ("train/*.tfrecord", "gone"),
            ("train/*.tfrecord", "cut"),
            ("train/*.index.parquet", "longer"),
            ("heldout/*.tfrecord", "longer"),
            ("labels.parquet", "gone"),
            ("heldout_images.parquet", "cut"),
            ("rejected.parquet", "gone"),
            ("duplicates.parquet", "cut"),
            ("manifest.json", "cut"),
            ("manifest.json", "gone"),
            ("plan/plan.json", "gone"),
            ("plan/totals.json", "gone"),
            ("plan/totals.json", "cut"),
            ("plan/classes.parquet", "gone"),
            ("plan/files.parquet", "cut"),
            ("plan/train-*.parquet", "gone"),
        ],
    )
    def test_a_file_that_is_not_as_it_was_is_noticed(
        self, root, catalog, dataset_bytes, name, damage
    ):
        before, manifest = dataset_bytes(root), (root / "manifest.json").read_bytes()
        path = sorted(root.glob(name))[0]
        content = path.read_bytes()
        path.write_bytes({"gone": b"", "cut": content[:-3], "longer": content + b"..."}[damage])
        if damage == "gone":
            path.unlink()
        preprocess(config_of(catalog), str(root))
        assert dataset_bytes(root) == before
        assert (root / "manifest.json").read_bytes() == manifest

    def test_no_shard_is_read(self, root, catalog, monkeypatch):
        def read(*_):
            raise AssertionError("a shard was read")

        monkeypatch.setattr(shards, "read_table", read)
        monkeypatch.setattr(shards, "file_sha256", read)
        assert preprocess(config_of(catalog), str(root)).nothing_to_do

    def test_every_byte_is_read_when_asked_for(self, root, catalog, dataset_bytes):
        before = dataset_bytes(root)
        path = sorted(root.glob("train/*.tfrecord"))[0]
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert preprocess(config_of(catalog), str(root)).nothing_to_do
        report = preprocess(config_of(catalog), str(root), verify=True)
        assert (report.shards_written, report.verified) == (1, True)
        assert dataset_bytes(root) == before

    def test_what_a_worker_left_that_was_killed_in_this_job_is_swept(
        self, root, catalog, monkeypatch
    ):
        shard = sorted(root.glob("train/*.tfrecord"))[0]
        left = shard.with_name(f"{shard.name}.{32 * '0'}.tmp")
        real = shards.encode_example

        def leave_something(image):
            left.touch()
            return real(image)

        shard.unlink()
        monkeypatch.setattr(shards, "encode_example", leave_something)
        preprocess(config_of(catalog), str(root))
        assert shard.is_file()
        assert not left.exists()

    def test_what_killed_writers_left_is_swept(self, root, catalog):
        shard = sorted(root.glob("train/*.tfrecord"))[0]
        left = shard.with_name(f"{shard.name}.{32 * '0'}.tmp")
        left.touch()
        part = root / "plan" / "checked" / f"00000-000000000.parquet.{32 * '0'}.tmp"
        rejected = root / "rejected" / f"part-00000.parquet.{32 * '0'}.tmp"
        rejected.parent.mkdir()
        for path in (part, rejected):
            path.touch()
        preprocess(config_of(catalog), str(root))
        assert not left.exists()
        assert not part.exists()
        assert not rejected.exists()


@pytest.fixture(scope="module")
def far_away(catalog):
    """A finished dataset that is on no disk of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checking, "PART_IMAGES", PART)
        preprocess(config_of(catalog), "memory://far/away")
    yield "memory://far/away"
    MemoryFileSystem.store.clear()


@pytest.fixture
def do_not_answer(monkeypatch):
    """Lets storage time out when it is asked for files of a pattern."""
    real = MemoryFileSystem._open

    def stop(pattern):
        def open_(storage, path, mode="rb", **options):
            if mode == "rb" and fnmatch(path, pattern):
                raise TimeoutError(f"no answer for {path}")
            return real(storage, path, mode, **options)

        monkeypatch.setattr(MemoryFileSystem, "_open", open_)

    return stop


def stored():
    return {path: bytes(file.getvalue()) for path, file in MemoryFileSystem.store.items()}


@pytest.mark.parametrize(
    "unanswered",
    [
        "*/plan/plan.json",
        "*/plan/train-00000-*.parquet",
        "*/plan/files.parquet",
        "*/labels.parquet",
        "*/rejected.parquet",
        "*/manifest.json",
        "*/train/train-00000-*.index.parquet",
        "*/train/train-00000-*.tfrecord",
    ],
)
def test_storage_that_does_not_answer_costs_nothing(
    far_away, catalog, monkeypatch, do_not_answer, looked_at, unanswered
):
    """One time-out used to withdraw a finished manifest and decode everything again."""
    before = stored()
    assert any(fnmatch(path, unanswered) for path in before)
    do_not_answer(unanswered)
    with pytest.raises((PreprocessingError, UnreachableTableError), match="no answer"):
        preprocess(config_of(catalog), far_away, verify=True)
    assert looked_at == []
    assert stored() == before
    monkeypatch.undo()
    assert preprocess(config_of(catalog), far_away, verify=True).nothing_to_do


def test_to_learn_that_a_picture_is_there_none_is_read(tmp_path, monkeypatch):
    (tmp_path / "there.jpg").write_bytes(b"a picture")
    monkeypatch.setattr(fetch, "open", pytest.fail, raising=False)
    place = UPath(tmp_path)
    assert found_now._is_there("there.jpg", place) == "there.jpg"
    assert found_now._is_there("gone.jpg", place) is None
