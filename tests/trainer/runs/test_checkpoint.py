"""Checkpoints: whole or not there, whatever wrote them and whatever happened to the files."""

import errno
import fcntl
import hashlib
import json
import os
import pickle
import re
import shutil
import tracemalloc
import zipfile

import numpy as np
import pytest

from manylabel.storage.errors import Transient
from manylabel.storage.pins import KeepReason, hold_after, release
from manylabel.storage.pins import keep as keep_pinned
from manylabel.trainer.errors import (
    CheckpointError,
    CheckpointStorageError,
    DamagedCheckpointError,
    NonFiniteStateError,
)
from manylabel.trainer.plane.layout import ParameterLayout, VariableSlot, cut
from manylabel.trainer.plane.optimizers import SGD, DecayBlocks, RMSprop
from manylabel.trainer.plane.shard import ParameterShard, ShardState
from manylabel.trainer.program.in_process import LocalShards
from manylabel.trainer.records.ledger import LedgerState, Settlement
from manylabel.trainer.runs.checkpoint import (
    StreamIdentity,
    checkpoint_path,
    describe_checkpoint,
    kept,
    list_checkpoints,
    load_shard,
    load_weights,
    read_manifest,
    verify,
)
from manylabel.trainer.runs.writer import CheckpointWriter
from tests._file_sizes import no_file_larger_than

pytestmark = pytest.mark.slow

STREAM = StreamIdentity(dataset_digest="f" * 16, seed=3, shuffle_block=32, shuffle_mix=8)
LEDGER = LedgerState(next_position=90, undone=((3, 5), (80, 90)), settled={Settlement.APPLIED: 78})

# (parameters, statistics): one shorter than the shards' alignment, one with no statistics.
SIZES = [(5, 2), (100, 0), (1003, 70)]


def layout_of(parameters, statistics):
    def slots(kind, count):
        first = count // 3
        pieces = [(0, first), (first, count)] if first else [(0, count)] if count else []
        return tuple(
            VariableSlot(path=f"{kind}{i}", shape=(b - a,), offset=a)
            for i, (a, b) in enumerate(pieces)
        )

    return ParameterLayout(
        parameters=slots("parameter", parameters), statistics=slots("statistic", statistics)
    )


def whole_state(sizes, optimizer, seed=0):
    """Every vector different, so that a mix-up shows."""
    random = np.random.default_rng(seed)
    state = ShardState.initial(
        np.zeros(sizes[0], np.float32), np.zeros(sizes[1], np.float32), optimizer
    )
    return ShardState.from_vectors(
        {name: random.random(len(v), np.float32) for name, v in state.vectors().items()}
    )


def shards_of(state, optimizer, count, version):
    def part(index):
        p, s = (slice(*cut(len(v), count)[index]) for v in (state.weights, state.statistics))
        own = {
            name: vector[s if name.startswith("statistics") else p]
            for name, vector in state.vectors().items()
        }
        return ParameterShard(
            ShardState.from_vectors(own),
            optimizer,
            DecayBlocks(len(own["weights"]), [], 0.0),
            0.9,
            version,
        )

    return LocalShards([part(index) for index in range(count)])


def new_writer(run, *, step=4, shards=2, sizes=(100, 40), optimizer=None, **options):
    optimizer = optimizer or SGD()
    state = whole_state(sizes, optimizer, seed=step)
    local = shards_of(state, optimizer, shards, step)
    return CheckpointWriter(run, layout_of(*sizes), STREAM, local, shard_count=shards, **options)


def write(run, step=4, **options):
    writer = new_writer(run, step=step, **options)
    writer.begin(step, 10 * step, LEDGER)
    writer.poll()
    return checkpoint_path(run, step)


def unfinished(run):
    return [path.name for path in (run / "checkpoints").glob(".*")]


@pytest.mark.parametrize("readers", range(1, 8))
@pytest.mark.parametrize("writers", [1, 2, 3, 7])
@pytest.mark.parametrize("sizes", SIZES)
def test_any_number_of_shards_reads_what_any_number_wrote(tmp_path, sizes, writers, readers):
    optimizer = RMSprop()
    path = write(tmp_path, sizes=sizes, shards=writers, optimizer=optimizer)
    expected = whole_state(sizes, optimizer, seed=4).vectors()
    parts = [load_shard(path, shard, readers).vectors() for shard in range(readers)]
    for name, vector in expected.items():
        ranges = cut(len(vector), readers)
        assert [len(part[name]) for part in parts] == [b - a for a, b in ranges]
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), vector)


@pytest.mark.parametrize("sizes", SIZES)
def test_weights_are_the_averaged_or_the_last_ones(tmp_path, sizes):
    path = write(tmp_path, sizes=sizes, shards=3)
    state = whole_state(sizes, SGD(), seed=4)
    averaged, last = (
        load_weights(describe_checkpoint(path), averaged=True),
        load_weights(describe_checkpoint(path), averaged=False),
    )
    np.testing.assert_array_equal(averaged.parameters, state.average)
    np.testing.assert_array_equal(averaged.statistics, state.statistics_average)
    np.testing.assert_array_equal(last.parameters, state.weights)
    np.testing.assert_array_equal(last.statistics, state.statistics)
    assert averaged.layout == last.layout == layout_of(*sizes)


def test_the_manifest_holds_what_was_given(tmp_path):
    manifest = read_manifest(write(tmp_path, shards=2))
    assert (manifest.step, manifest.samples) == (4, 40)
    assert manifest.ledger == LEDGER
    assert manifest.stream == STREAM
    assert [file.name for file in manifest.shards] == [
        "shard-00000-of-00002.npz",
        "shard-00001-of-00002.npz",
    ]


def test_nothing_is_there_before_all_of_it_is(tmp_path):
    """A reader sees no checkpoint while shards are still writing."""

    class SlowShards(LocalShards):
        done = False

        def settled(self, answers, *, wait):
            self.done = self.done or wait
            return self.done

    slow = SlowShards([])
    writer = CheckpointWriter(tmp_path, layout_of(0, 0), STREAM, slow, shard_count=0)
    writer.begin(1, 8, LEDGER)
    writer.poll()
    assert list_checkpoints(tmp_path) == []
    assert writer.take_finished() == []
    slow.done = True
    writer.poll()
    assert [info.step for info in list_checkpoints(tmp_path)] == [1]
    assert writer.take_finished() == [1]
    assert writer.take_finished() == []
    slow.done = False
    writer.begin(2, 16, LEDGER)
    writer.begin(3, 24, LEDGER)  # waits for the one before
    assert [info.step for info in list_checkpoints(tmp_path)] == [1, 2]
    writer.poll(wait=True)
    assert writer.take_finished() == [2, 3]


def test_the_list_is_in_the_order_of_steps(tmp_path):
    for step in (12, 3, 123_456_789, 100):
        write(tmp_path, step)
    infos = list_checkpoints(tmp_path)
    assert [info.step for info in infos] == [3, 12, 100, 123_456_789]
    assert [info.samples for info in infos] == [30, 120, 1000, 1_234_567_890]
    assert infos[0].path == checkpoint_path(tmp_path, 3)


def test_a_run_without_checkpoints_has_none(tmp_path):
    assert list_checkpoints(tmp_path / "missing") == []


@pytest.mark.parametrize(("keep", "left"), [(1, [5]), (3, [3, 4, 5]), (9, [1, 2, 3, 4, 5])])
def test_the_newest_are_kept(tmp_path, keep, left):
    for step in range(1, 6):
        write(tmp_path, step, keep=keep)
    assert [info.step for info in list_checkpoints(tmp_path)] == left
    assert len(os.listdir(tmp_path / "checkpoints")) == len(left)


def test_all_are_kept_if_nothing_is_said(tmp_path):
    for step in range(1, 6):
        write(tmp_path, step)
    assert len(list_checkpoints(tmp_path)) == 5


def lose_manifest(path):
    (path / "manifest.json").unlink()


def cut_manifest(path):
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text[:-10])


def lose_shard(path):
    (path / "shard-00001-of-00002.npz").unlink()


def cut_shard(path):
    data = (path / "shard-00001-of-00002.npz").read_bytes()
    (path / "shard-00001-of-00002.npz").write_bytes(data[:-1])


def empty_shard(path):
    (path / "shard-00000-of-00002.npz").write_bytes(b"")


def add_unknown_key(path):
    content = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(content | {"novelty": 1}))


def test_a_checkpoint_that_was_cloned_without_its_large_files_says_so(tmp_path, lfs_pointer):
    path = write(tmp_path, 7)
    (path / "shard-00000-of-00002.npz").write_bytes(lfs_pointer)
    with pytest.raises(DamagedCheckpointError, match=r"bytes, found \d+, a Git LFS pointer; run"):
        read_manifest(path)


@pytest.mark.parametrize(
    "damage",
    [
        lose_manifest,
        cut_manifest,
        lose_shard,
        cut_shard,
        empty_shard,
        add_unknown_key,
    ],
)
def test_a_damaged_checkpoint_is_passed_over_and_cannot_be_read(tmp_path, damage):
    write(tmp_path, 3)
    path = write(tmp_path, 7)
    damage(path)
    assert [info.step for info in list_checkpoints(tmp_path)] == [3]
    for read in (
        read_manifest,
        verify,
        lambda p: load_weights(describe_checkpoint(p), averaged=True),
        lambda p: load_shard(p, 0, 1),
    ):
        with pytest.raises(DamagedCheckpointError, match="00000007") as caught:
            read(path)
        assert "\n" not in str(caught.value)


READERS = (read_manifest, verify, lambda path: load_shard(path, 0, 1))


def test_another_format_version_is_not_damage(tmp_path):
    """It may have keys that this version does not know."""
    path = write(tmp_path, 7)
    content = json.loads((path / "manifest.json").read_text())
    content |= {"format_version": 3, "novelty": 1}
    (path / "manifest.json").write_text(json.dumps(content))
    for read in (*READERS, lambda path: list_checkpoints(tmp_path)):
        message = r"00000007.* version 2, received version 3"
        with pytest.raises(CheckpointError, match=message) as caught:
            read(path)
        assert not isinstance(caught.value, DamagedCheckpointError)


def loop_manifest(path):
    (path / "manifest.json").unlink()
    (path / "manifest.json").symlink_to("manifest.json")


def loop_shard(path):
    (path / "shard-00000-of-00002.npz").unlink()
    (path / "shard-00000-of-00002.npz").symlink_to("shard-00000-of-00002.npz")


@pytest.mark.parametrize("fail", [loop_manifest, loop_shard])
def test_a_file_that_cannot_be_looked_at_is_not_damage(tmp_path, fail):
    """A loop of links stands for whatever storage may answer but "there is no such file"."""
    path = write(tmp_path, 7)
    fail(path)
    for read in (*READERS, lambda path: list_checkpoints(tmp_path)):
        with pytest.raises(CheckpointError, match=r"00000007.*symbolic links.*intact") as caught:
            read(path)
        assert not isinstance(caught.value, DamagedCheckpointError)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
@pytest.mark.parametrize(
    "place",
    [
        "zipfile._EndRecData",
        "zipfile.ZipFile.open",
        "zipfile.ZipExtFile.read",
        "numpy.lib.format.read_array_header_1_0",
    ],
)
def test_failing_storage_and_memory_are_not_damage(tmp_path, monkeypatch, place, error):
    """Wherever in reading an archive they show."""

    def fail(*arguments, **options):
        raise error

    path = write(tmp_path, 7)
    monkeypatch.setattr(place, fail)
    for read in READERS[1:]:
        with pytest.raises(CheckpointError, match=r"npz cannot be read: .*intact") as caught:
            read(path)
        assert not isinstance(caught.value, DamagedCheckpointError)


def test_checkpoints_that_cannot_be_listed_are_not_none(tmp_path):
    (tmp_path / "checkpoints").write_text("a file in the way")
    with pytest.raises(CheckpointError, match="checkpoints cannot be listed"):
        list_checkpoints(tmp_path)


@pytest.mark.parametrize(
    ("parameters", "places"),
    [
        (9, slice(None)),
        # The header of a vector longer than zipfile's buffer: its length could become a shorter
        # one, and then nothing would read on to where the checksum is compared.
        (5000, slice(200)),
    ],
)
def test_a_flipped_bit_anywhere_is_found_or_does_not_matter(tmp_path, parameters, places):
    """Not all bytes of a zip file mean something; those that do are covered by its CRC-32."""
    path = write(tmp_path, shards=1, sizes=(parameters, 3))
    file = path / "shard-00000-of-00001.npz"
    intact = file.read_bytes()
    expected = load_shard(path, 0, 1).vectors()
    found = 0
    for place in range(len(intact))[places]:
        for bit in (place % 8, (place + 3) % 8):
            damaged = bytearray(intact)
            damaged[place] ^= 1 << bit
            file.write_bytes(damaged)
            try:
                vectors = load_shard(path, 0, 1).vectors()
            except DamagedCheckpointError:
                found += 1
                continue
            assert vectors.keys() == expected.keys()
            for name, vector in vectors.items():
                np.testing.assert_array_equal(vector, expected[name])
    assert found > len(range(len(intact))[places])


def test_verify_finds_a_flipped_byte_of_any_shard(tmp_path):
    path = write(tmp_path, shards=3)
    verify(path)
    for file in sorted(path.glob("*.npz")):
        intact = file.read_bytes()
        at = intact.index(b"NUMPY") + 130  # within the first vector's values
        file.write_bytes(intact[:at] + bytes([intact[at] ^ 1]) + intact[at + 1 :])
        with pytest.raises(CheckpointError, match=f"{file.name} is damaged"):
            verify(path)
        file.write_bytes(intact)


def test_a_pickle_is_never_loaded(tmp_path):
    """Neither a pickle in place of the archive nor one inside it: loading one runs its code."""

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = write(tmp_path, shards=1)
    file = path / "shard-00000-of-00001.npz"
    content = json.loads((path / "manifest.json").read_text())
    np.savez(tmp_path / "object.npz", weights=np.asarray([Trap()] * 100, object))
    with zipfile.ZipFile(tmp_path / "object.npz") as archive:
        content["shards"][0]["vectors"] = {"weights": archive.getinfo("weights.npy").CRC}
    for payload in (pickle.dumps(Trap()), (tmp_path / "object.npz").read_bytes()):
        file.write_bytes(payload)
        content["shards"][0]["bytes"] = len(payload)
        (path / "manifest.json").write_text(json.dumps(content))
        with pytest.raises(DamagedCheckpointError, match=r"is damaged|of object"):
            load_shard(path, 0, 1)
        assert not (tmp_path / "sprung").exists()


def test_a_damaged_one_of_the_same_step_is_replaced(tmp_path):
    cut_shard(write(tmp_path, 4))
    verify(write(tmp_path, 4))
    assert os.listdir(tmp_path / "checkpoints") == ["00000004"]


def test_a_checkpoint_that_cannot_be_begun_is_one_clear_error(tmp_path):
    (tmp_path / "checkpoints").write_text("a file in the way")
    with pytest.raises(CheckpointError, match=r"step 4 could not be written to .*checkpoints"):
        write(tmp_path)


@pytest.mark.parametrize("fails_in", ["save", "settled"])
def test_a_failed_write_is_one_clear_error_and_leaves_nothing(tmp_path, fails_in):
    """A full disk, wherever it shows: where the shards are called, or when they answer."""
    write(tmp_path, 3)
    state = whole_state((100, 40), SGD())

    class FullDisk(LocalShards):
        def save(self, paths, version):
            super().save(paths[:1], version)
            if fails_in == "save":
                raise OSError(28, "No space left on device", str(paths[1]))
            return []

        def settled(self, answers, *, wait):
            raise OSError(28, "No space left on device")

    first = shards_of(state, SGD(), 2, 4)._shards[:1]
    writer = CheckpointWriter(tmp_path, layout_of(100, 40), STREAM, FullDisk(first), shard_count=2)
    with pytest.raises(CheckpointError, match=r"step 4 .*No space left.*make room"):
        _begin_and_poll(writer)
    assert unfinished(tmp_path) == []
    assert writer.take_finished() == []
    assert [info.step for info in list_checkpoints(tmp_path)] == [3]
    writer.poll(wait=True)  # the failure was told once


@pytest.mark.parametrize("size", [0, 1000, 2000])
def test_a_file_of_a_checkpoint_that_does_not_fit_is_named(tmp_path, size):
    """A file of a shard has 900 bytes or so of each of its vectors; the manifest has more."""
    write(tmp_path, 3)
    writer = new_writer(tmp_path)
    with no_file_larger_than(size), pytest.raises(CheckpointError) as caught:
        _begin_and_poll(writer)
    assert re.search(r"step 4 .*/(shard-.*npz|manifest\.json): File too large; ", str(caught.value))
    assert unfinished(tmp_path) == []
    assert [info.step for info in list_checkpoints(tmp_path)] == [3]
    _begin_and_poll(writer)
    assert [info.step for info in list_checkpoints(tmp_path)] == [3, 4]


@pytest.mark.parametrize(
    ("number", "advice", "again", "passing"),
    [
        (errno.ENOSPC, "make room there", False, False),
        (errno.EROFS, "mount it so that it can be written, or name another place", False, False),
        (
            errno.EFBIG,
            r"raise the limit on a file's size \(`ulimit -f`\), or use another file system",
            False,
            False,
        ),
        (errno.EIO, "mend that", True, True),
        (errno.ESTALE, "mend that", True, True),
        (errno.EACCES, "mend that", True, False),
        (errno.ENOENT, "mend that", True, False),
    ],
)
def test_what_to_do_is_of_what_the_system_said(tmp_path, number, advice, again, passing):
    class Storage(LocalShards):
        def save(self, paths, version):
            raise OSError(number, os.strerror(number), str(paths[0]))

    writer = CheckpointWriter(tmp_path, layout_of(100, 40), STREAM, Storage([]), shard_count=2)
    line = rf"{os.strerror(number)}.*; {advice}, then run the same command to go on from the last"
    with pytest.raises(CheckpointError, match=line) as caught:
        _begin_and_poll(writer)
    assert isinstance(caught.value, CheckpointStorageError) == again
    assert isinstance(caught.value, Transient) == passing


def _begin_and_poll(writer):
    writer.begin(4, 40, LEDGER)
    writer.poll()


def test_a_directory_that_vanishes_while_writing_is_one_clear_error(tmp_path):
    writer = new_writer(tmp_path)
    writer.begin(4, 40, LEDGER)
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(CheckpointError, match="could not be written"):
        writer.poll()


def non_finite_shards(vector, value):
    """Two shards at step 4, one bad value in the second."""
    state = whole_state((100, 40), RMSprop())
    state.vectors()[vector][-1] = value
    return shards_of(state, RMSprop(), 2, 4)


def test_a_checkpoint_that_is_being_read_is_kept_until_it_was(tmp_path):
    write(tmp_path, 3)
    with kept(list_checkpoints(tmp_path)) as found:
        assert [info.step for info in found] == [3]
        write(tmp_path, 4, keep=1)
        write(tmp_path, 5, keep=1)
        verify(found[0].path)
        assert [info.step for info in list_checkpoints(tmp_path)] == [3, 5]
    listed = list_checkpoints(tmp_path)
    write(tmp_path, 6, keep=1)
    assert [info.step for info in list_checkpoints(tmp_path)] == [6]
    with kept(listed) as found:
        assert found == []


def test_promoted_and_waiting_checkpoints_are_kept_beside_the_newest(tmp_path):
    keep_pinned(tmp_path, 1, KeepReason.PROMOTED)
    hold_after(tmp_path, "nightly", 3)
    for step in range(1, 7):
        write(tmp_path, step, keep=1)
    assert [info.step for info in list_checkpoints(tmp_path)] == [1, 4, 5, 6]
    hold_after(tmp_path, "nightly", 5)
    write(tmp_path, 7, keep=1)
    assert [info.step for info in list_checkpoints(tmp_path)] == [1, 6, 7]
    release(tmp_path, "nightly")
    write(tmp_path, 8, keep=1)
    assert [info.step for info in list_checkpoints(tmp_path)] == [1, 8]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_where_there_are_no_locks_checkpoints_are_read_without(tmp_path, monkeypatch, code):
    """On some network mounts; nothing trains there that could remove one."""

    def refuse(file, operation):
        raise OSError(code, os.strerror(code))

    write(tmp_path, 3)
    monkeypatch.setattr(fcntl, "flock", refuse)
    with kept(list_checkpoints(tmp_path)) as found:
        assert [info.step for info in found] == [3]


def test_weights_are_those_of_the_checkpoint_that_was_described(tmp_path):
    info = describe_checkpoint(write(tmp_path, 3))
    shutil.rmtree(info.path)
    write(tmp_path, 3, sizes=(100, 41))
    with pytest.raises(CheckpointError, match="00000003: was replaced just now"):
        load_weights(info, averaged=True)


def test_the_digest_is_of_the_content(tmp_path):
    write(tmp_path / "one", 3)
    write(tmp_path / "same", 3)
    write(tmp_path / "other", 3, sizes=(100, 41))
    digests = [
        info.digest for run in ("one", "same", "other") for info in list_checkpoints(tmp_path / run)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_file_of_another_checkpoint_is_damage(tmp_path):
    """Of the same size and names, sound in itself."""
    path, other = write(tmp_path, 3), write(tmp_path, 4)
    name = "shard-00001-of-00002.npz"
    assert (path / name).stat().st_size == (other / name).stat().st_size
    shutil.copyfile(other / name, path / name)
    for read in (verify, lambda p: load_weights(describe_checkpoint(p), averaged=True)):
        with pytest.raises(DamagedCheckpointError, match=r"that manifest\.json was written with"):
            read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("vector", whole_state((1, 1), RMSprop()).vectors())
def test_a_state_that_is_not_finite_is_never_written(tmp_path, vector, value):
    before = write(tmp_path, 3, keep=1)
    shards = non_finite_shards(vector, value)
    writer = CheckpointWriter(tmp_path, layout_of(100, 40), STREAM, shards, shard_count=2, keep=1)
    expected = (
        rf"step 4 was not written, as {vector} in shard-00001.*Inf.*step 3, is.*learning_rate"
    )
    with pytest.raises(CheckpointError, match=expected) as caught:
        writer.begin(4, 40, LEDGER)
    assert not isinstance(caught.value, DamagedCheckpointError)
    assert os.listdir(tmp_path / "checkpoints") == ["00000003"]
    verify(before)
    writer.poll(wait=True)  # the failure was told once
    assert writer.take_finished() == []


def test_a_shard_elsewhere_says_that_its_state_is_not_finite_when_it_answers(tmp_path):
    """Its error comes from another process: pickled, and after the checkpoint was begun."""

    class Remote(LocalShards):
        def save(self, paths, version):
            try:
                return super().save(paths, version)
            except NonFiniteStateError as error:
                return [pickle.dumps(error)]

        def settled(self, answers, *, wait):
            raise pickle.loads(answers[0])

    shards = Remote(non_finite_shards("weights", np.nan)._shards)
    writer = CheckpointWriter(tmp_path, layout_of(100, 40), STREAM, shards, shard_count=2)
    with pytest.raises(
        CheckpointError, match=r"step 4 was not written, as weights .* none, is as it was"
    ):
        _begin_and_poll(writer)
    assert os.listdir(tmp_path / "checkpoints") == []


def test_an_old_checkpoint_that_cannot_be_removed_is_one_clear_error(tmp_path):
    old = write(tmp_path, 3)
    (tmp_path / "checkpoints" / ".removed-00000003").write_text("a file in the way")
    with pytest.raises(CheckpointError, match=r"old checkpoint .*00000003 could not be removed"):
        write(tmp_path, 4, keep=1)
    verify(old)
    assert [info.step for info in list_checkpoints(tmp_path)] == [3, 4]


EARLIER = """\
{
  "format_version": 2,
  "step": 7,
  "samples": 56,
  "layout": {
    "parameters": [
      {
        "path": "block1_depthwise/kernel",
        "shape": [
          3
        ],
        "offset": 0,
        "decayed": true
      }
    ],
    "statistics": []
  },
  "shards": [],
  "ledger": {
    "next_position": 56,
    "undone": [],
    "settled": {
      "applied": 56,
      "bad_record": 0,
      "rejected_gradient": 0
    }
  },
  "stream": {
    "dataset_digest": "d",
    "seed": 0,
    "shuffle_block": 1,
    "shuffle_mix": 1
  }
}
"""


def test_a_checkpoint_of_an_earlier_version_keeps_its_digest(tmp_path):
    """Evaluations, reviews and promotions of it name that."""
    (tmp_path / "manifest.json").write_text(EARLIER)
    digest = hashlib.sha256(EARLIER.encode()).hexdigest()
    assert describe_checkpoint(tmp_path).digest == digest


@pytest.mark.parametrize("read", [verify, lambda path: load_shard(path, 0, 1)])
def test_a_manifest_that_lists_no_files_is_damaged(tmp_path, read):
    (tmp_path / "manifest.json").write_text(EARLIER)
    with pytest.raises(DamagedCheckpointError, match=r"manifest\.json: .* lists none"):
        read(tmp_path)


def test_verifying_holds_little_and_loading_each_vector_once(tmp_path):
    """Of 48 MB in one file: a resume verifies in the process that starts the others."""
    path = write(tmp_path, shards=1, sizes=(3_000_000, 1000), optimizer=RMSprop())
    whole = sum(file.stat().st_size for file in path.glob("*.npz"))
    assert whole > 45e6
    peaks = []
    for read in (verify, lambda path: load_shard(path, 0, 1)):
        tracemalloc.start()
        try:
            read(path)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[0] < 8e6
    assert peaks[1] < 1.3 * whole
