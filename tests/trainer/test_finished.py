"""A run with nothing left to do is found before anything is started for it."""

import numpy as np
import pytest

from manylabel.trainer import job
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.finished import finished_before
from manylabel.trainer.plane.layout import ParameterLayout, VariableSlot
from manylabel.trainer.plane.optimizers import SGD, DecayBlocks
from manylabel.trainer.plane.shard import ParameterShard, ShardState
from manylabel.trainer.program.in_process import LocalShards
from manylabel.trainer.program.plan import stream_identity
from manylabel.trainer.records.ledger import LedgerState, Settlement
from manylabel.trainer.runs.directory import describe_run
from manylabel.trainer.runs.writer import CheckpointWriter

LAYOUT = ParameterLayout(
    parameters=(VariableSlot(path="kernel", shape=(9,), offset=0),), statistics=()
)
RECORDS = 20


def config(epochs):
    return TrainerConfig.model_validate({"epochs": epochs, "updates_per_metrics_row": 1})


@pytest.fixture
def trained(write_dataset, tmp_path):
    """trained(positions, undone=(), samples=None): a run that dealt so many records, and its
    dataset."""
    dataset = write_dataset(train=[[b"never read"] * RECORDS])
    run = tmp_path / "run"

    def train(positions, undone=(), samples=None):
        describe_run(run, dataset, config(2), {})
        state = ShardState.initial(np.zeros(9, np.float32), np.zeros(0, np.float32), SGD())
        shards = LocalShards([ParameterShard(state, SGD(), DecayBlocks(9, [], 0.0), 0.9, 5)])
        stream = stream_identity(dataset, config(2).input)
        writer = CheckpointWriter(run, LAYOUT, stream, shards, shard_count=1)
        settled = {Settlement.APPLIED: positions if samples is None else samples}
        ledger = LedgerState(next_position=positions, undone=undone, settled=settled)
        writer.begin(5, settled[Settlement.APPLIED], ledger)
        writer.poll(wait=True)
        return run, dataset

    return train


@pytest.mark.parametrize("epochs", [2, 1, 0.5])
def test_what_was_asked_for_is_done(trained, epochs):
    """Also where fewer epochs are asked for than are done."""
    run, dataset = trained(2 * RECORDS)
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file())
    # No cluster answers there: it is not asked.
    report = job.train(config(epochs), dataset.root, run, address="127.0.0.1:1")
    assert report.was_finished
    assert (report.step, report.samples, report.resumed_at) == (5, 2 * RECORDS, 5)
    after = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file())
    assert [each for each in after if each[0].name != ".lock"] == before


@pytest.mark.parametrize(
    ("epochs", "undone"), [(3, ()), (2.1, ()), (1, ((3, 5),)), (2, ((39, 40),))]
)
def test_what_is_left_is_trained(trained, epochs, undone):
    run, dataset = trained(2 * RECORDS, undone)
    assert finished_before(run, dataset, config(epochs)) is None


def test_a_damaged_last_checkpoint_is_no_end(trained):
    run, dataset = trained(2 * RECORDS)
    (file,) = run.glob("checkpoints/*/*.npz")
    file.write_bytes(b"")
    assert finished_before(run, dataset, config(2)) is None


def test_it_must_be_of_this_dataset_and_these_settings(trained, write_dataset):
    run, dataset = trained(2 * RECORDS)
    other = write_dataset(train=[[b"another"] * RECORDS], folder="other")
    with pytest.raises(TrainingError, match="expected the dataset that it was trained on"):
        finished_before(run, other, config(2))
    changed = TrainerConfig.model_validate({"epochs": 2, "input": {"seed": 9}})
    with pytest.raises(TrainingError, match=r"this run has trainer\.input\.seed"):
        finished_before(run, dataset, changed)


def test_a_run_without_an_update_did_not_end_well(trained):
    run, dataset = trained(2 * RECORDS, samples=0)
    with pytest.raises(TrainingError, match="none of them made an update"):
        finished_before(run, dataset, config(2))


def test_epochs_of_no_record_are_refused(write_dataset, tmp_path):
    dataset = write_dataset(train=[[b"never read"] * RECORDS])
    message = r"trainer\.epochs = 0\.01: of the 20 records of .* none; set it to 0\.05 at least"
    with pytest.raises(TrainingError, match=message):
        job.train(config(0.01), dataset.root, tmp_path / "run")
    assert not (tmp_path / "run").exists()
