"""A run goes on from its newest intact checkpoint, whatever the job before left behind."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from manylabel.trainer.errors import CheckpointError, DamagedCheckpointError, TrainingError
from manylabel.trainer.plane.layout import ParameterLayout, VariableSlot
from manylabel.trainer.plane.optimizers import SGD, DecayBlocks
from manylabel.trainer.plane.shard import ParameterShard, ShardState
from manylabel.trainer.program.in_process import LocalShards
from manylabel.trainer.records.ledger import LedgerState
from manylabel.trainer.runs.checkpoint import (
    StreamIdentity,
    checkpoint_path,
    list_checkpoints,
    verify,
)
from manylabel.trainer.runs.resume import checkpoint_to_resume
from manylabel.trainer.runs.writer import CheckpointWriter

STREAM = StreamIdentity(dataset_digest="f", seed=0, shuffle_block=1, shuffle_mix=1)
LAYOUT = ParameterLayout(
    parameters=(VariableSlot(path="kernel", shape=(9,), offset=0),), statistics=()
)


def write(run, step, *, keep=None, samples=0):
    state = ShardState.initial(np.full(9, step, np.float32), np.zeros(0, np.float32), SGD())
    shards = LocalShards([ParameterShard(state, SGD(), DecayBlocks(9, [], 0.0), 0.9, step)])
    writer = CheckpointWriter(run, LAYOUT, STREAM, shards, shard_count=1, keep=keep)
    writer.begin(step, samples, LedgerState(next_position=0, undone=(), settled={}))
    writer.poll()
    return checkpoint_path(run, step)


def names(run):
    return sorted(os.listdir(run / "checkpoints"))


def steps(run):
    return [info.step for info in list_checkpoints(run)]


def lose_manifest(path):
    (path / "manifest.json").unlink()


def flip_a_bit(path):
    """Of a weight: the file keeps its length, so that only reading it all tells."""
    (file,) = path.glob("*.npz")
    data = bytearray(file.read_bytes())
    data[data.index(b"NUMPY") + 130] ^= 1
    file.write_bytes(data)


DAMAGE = pytest.mark.parametrize("damage", [lose_manifest, flip_a_bit])


def test_a_run_without_checkpoints_begins(tmp_path):
    assert checkpoint_to_resume(tmp_path) is None


def test_the_newest_is_taken_and_nothing_is_changed(tmp_path, caplog):
    write(tmp_path, 3)
    newest = write(tmp_path, 12)
    assert checkpoint_to_resume(tmp_path) == newest
    assert names(tmp_path) == ["00000003", "00000012"]
    assert caplog.text == ""


@DAMAGE
def test_damaged_ones_are_passed_over_and_set_aside(tmp_path, damage, caplog):
    damage(write(tmp_path, 1))  # older than the intact one: it is not in the way
    intact = write(tmp_path, 3)
    for step in (7, 8):
        damage(write(tmp_path, step))
    assert checkpoint_to_resume(tmp_path) == intact
    assert names(tmp_path) == [".damaged-00000007", ".damaged-00000008", "00000001", "00000003"]
    assert steps(tmp_path)[-1] == 3
    for name in (".damaged-00000007", ".damaged-00000008"):
        assert name in caplog.text
    assert "00000003" not in caplog.text


@DAMAGE
def test_none_is_removed_to_keep_a_damaged_one(tmp_path, damage):
    """Retention counts the newest; those of a history that is lost must not be among them."""
    write(tmp_path, 3)
    for step in (7, 8):
        damage(write(tmp_path, step))
    checkpoint_to_resume(tmp_path)
    write(tmp_path, 5, keep=2)
    assert steps(tmp_path) == [3, 5]
    verify(write(tmp_path, 6, keep=2))
    assert steps(tmp_path) == [5, 6]
    verify(write(tmp_path, 7, keep=2))  # made again
    assert steps(tmp_path) == [6, 7]


def test_a_step_may_be_damaged_twice(tmp_path):
    intact = write(tmp_path, 3)
    for _ in range(2):
        flip_a_bit(write(tmp_path, 7))
        assert checkpoint_to_resume(tmp_path) == intact
    assert names(tmp_path) == [".damaged-00000007", "00000003"]


@DAMAGE
def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(tmp_path, damage):
    for step in (3, 7):
        damage(write(tmp_path, step))
    with pytest.raises(TrainingError, match=r"damaged \(00000007, 00000003\); .* another --run"):
        checkpoint_to_resume(tmp_path)
    assert names(tmp_path) == ["00000003", "00000007"]


def raise_format(path):
    content = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(content | {"format_version": 3}))


def loop_links(path):
    """No damage: the link may be mended, and the file behind it be intact."""
    (path / "manifest.json").unlink()
    (path / "manifest.json").symlink_to("manifest.json")


@pytest.mark.parametrize(
    ("change", "told"),
    [(raise_format, "version 2, received version 3"), (loop_links, "cannot be read")],
)
def test_one_that_another_try_may_read_is_not_given_up(tmp_path, change, told):
    write(tmp_path, 3)
    change(write(tmp_path, 7))
    flip_a_bit(write(tmp_path, 8))
    with pytest.raises(CheckpointError, match=f"00000007.*{told}") as caught:
        checkpoint_to_resume(tmp_path)
    assert not isinstance(caught.value, DamagedCheckpointError)
    assert names(tmp_path) == ["00000003", "00000007", "00000008"]


class Killed(BaseException):
    """Nothing of ours catches it, as nothing catches SIGKILL."""


@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("keep", [None, 1])
def test_a_job_killed_between_any_two_steps_of_publishing_loses_no_checkpoint(
    tmp_path, monkeypatch, after, keep
):
    """Replaces the checkpoint of step 4 and, where one is kept, removes that of step 3."""
    calls = 0

    def until_killed(call):
        def counted(*arguments, **options):
            nonlocal calls
            if calls == after:
                raise Killed
            calls += 1
            return call(*arguments, **options)

        return counted

    write(tmp_path, 3)
    write(tmp_path, 4, samples=10)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", until_killed(Path.rename))
        patch.setattr(shutil, "rmtree", until_killed(shutil.rmtree))
        try:
            write(tmp_path, 4, samples=20, keep=keep)
            killed = False
        except Killed:
            killed = True
    assert killed == (after < (3 if keep is None else 5))
    assert checkpoint_to_resume(tmp_path) == checkpoint_path(tmp_path, 4)
    assert list_checkpoints(tmp_path)[-1].samples == (10 if after < 2 else 20)
    assert [name for name in names(tmp_path) if name.startswith(".")] == []


def test_a_checkpoint_half_written_is_removed(tmp_path):
    intact = write(tmp_path, 3)
    (tmp_path / "checkpoints" / ".unfinished-00000007").mkdir()
    (tmp_path / "checkpoints" / ".unfinished-00000007" / "shard-00000-of-00001.npz").touch()
    assert checkpoint_to_resume(tmp_path) == intact
    assert names(tmp_path) == ["00000003"]


def test_what_cannot_be_removed_is_one_clear_error(tmp_path):
    write(tmp_path, 3)
    (tmp_path / "checkpoints" / ".unfinished-00000007").write_text("no directory")
    with pytest.raises(TrainingError, match=r"what a killed job left .*unfinished-00000007"):
        checkpoint_to_resume(tmp_path)
