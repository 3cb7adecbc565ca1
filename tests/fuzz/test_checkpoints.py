"""Checkpoints: a changed byte of a vector is never loaded; odd manifests are refused in a line."""

import functools
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import strategies as st

from manylabel.trainer.errors import TrainingError
from manylabel.trainer.plane.layout import ParameterLayout, VariableSlot, cut
from manylabel.trainer.plane.optimizers import SGD, DecayBlocks
from manylabel.trainer.plane.shard import ParameterShard, ShardState
from manylabel.trainer.program.in_process import LocalShards
from manylabel.trainer.records.ledger import LedgerState, Settlement
from manylabel.trainer.runs.checkpoint import (
    StreamIdentity,
    checkpoint_path,
    describe_checkpoint,
    load_shard,
    load_weights,
    verify,
)
from manylabel.trainer.runs.writer import CheckpointWriter
from tests.fuzz._damage import damaged
from tests.fuzz._datasets import write
from tests.fuzz._edits import edited_json
from tests.fuzz._target import ACCEPTED, Target, fuzz, refused

pytestmark = pytest.mark.slow

PARAMETERS, STATISTICS, SHARDS = 40, 20, 2
LAYOUT = ParameterLayout(
    parameters=(
        VariableSlot(path="a", shape=(8, 4), offset=0),
        VariableSlot(path="b", shape=(8,), offset=32),
    ),
    statistics=(VariableSlot(path="mean", shape=(STATISTICS,), offset=0),),
)


@functools.cache
def sound_checkpoint():
    """Its files by name."""
    parameters = np.linspace(-1, 1, PARAMETERS).astype(np.float32)
    statistics = np.linspace(0, 1, STATISTICS).astype(np.float32)
    ends = zip(cut(PARAMETERS, SHARDS), cut(STATISTICS, SHARDS), strict=True)
    shards = [
        ParameterShard(
            ShardState.initial(parameters[slice(*held)], statistics[slice(*kept)], SGD()),
            SGD(),
            DecayBlocks(held[1] - held[0], [], 0.0),
            0.9,
            4,
        )
        for held, kept in ends
    ]
    stream = StreamIdentity(dataset_digest="f" * 64, seed=3, shuffle_block=32, shuffle_mix=8)
    ledger = LedgerState(next_position=90, undone=((3, 5),), settled={Settlement.APPLIED: 88})
    with TemporaryDirectory() as run:
        writer = CheckpointWriter(
            Path(run), LAYOUT, stream, LocalShards(shards), shard_count=SHARDS
        )
        writer.begin(4, 40, ledger)
        writer.poll()
        return {
            path.name: path.read_bytes() for path in sorted(checkpoint_path(Path(run), 4).iterdir())
        }


FILES = sound_checkpoint()
VECTORS = [name for name in FILES if name.endswith(".npz")]
MANIFEST = json.loads(FILES["manifest.json"])
WORDS = (
    b"PK\3\4",
    b"PK\1\2",
    b"PK\5\6",
    b"\x93NUMPY",
    b"<f4",
    b"(99999999999,)",
    b"(-1,)",
    b"(" * 90,
    b"True",
)
CASES = (
    st.tuples(st.sampled_from(VECTORS), damaged([FILES[name] for name in VECTORS], WORDS))
    | st.tuples(st.just("manifest.json"), edited_json([MANIFEST]))
    | st.tuples(st.just("manifest.json"), damaged([FILES["manifest.json"]]))
)
SOUND = [(name, FILES[name]) for name in FILES]


def check(case, folder):
    name, data = case
    write(folder, FILES | {name: data})
    try:
        verify(folder)
        info = describe_checkpoint(folder)
        weights = load_weights(info, averaged=True)
        last = load_weights(info, averaged=False)
        states = [load_shard(folder, shard, 3) for shard in range(3)]
    except TrainingError as error:
        return refused(error)
    if name in VECTORS:
        assert np.array_equal(last.parameters, np.linspace(-1, 1, PARAMETERS).astype(np.float32))
    assert len(weights.parameters) == sum(len(state.weights) for state in states)
    return ACCEPTED


TARGET = Target("checkpoints", CASES, check)


def test_checkpoints(tmp_path):
    fuzz(TARGET, tmp_path / "case", 60, sound=SOUND)
