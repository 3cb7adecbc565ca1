"""Every setting of the trainer does something, and what makes no sense is refused.

The settings of the model, the loss and the input have their own tests.
"""

import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numba
import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from manylabel.storage.dataset import Dataset
from manylabel.trainer.config import TopologyConfig, TrainerConfig
from manylabel.trainer.errors import CheckpointError, TrainingError
from manylabel.trainer.plane.layout import ParameterLayout, VariableSlot
from manylabel.trainer.plane.optimizers import SGD, DecayBlocks, RMSprop
from manylabel.trainer.plane.protocols import GradientReport
from manylabel.trainer.plane.shard import ParameterShard, ShardState
from manylabel.trainer.program.in_process import LocalCoordinator, LocalShards, new_local_shards
from manylabel.trainer.program.initial_state import write_initial_checkpoint
from manylabel.trainer.program.plan import TrainingPlan, stream_identity, total_updates
from manylabel.trainer.program.processes import ParameterShardProcess, is_compiled
from manylabel.trainer.program.room import Resources, gpus_per_worker, worker_share
from manylabel.trainer.records.ledger import RecordLedger
from manylabel.trainer.records.reader import BadRecordReport
from manylabel.trainer.runs.checkpoint import (
    checkpoint_path,
    describe_checkpoint,
    list_checkpoints,
    load_shard,
    load_weights,
)
from manylabel.trainer.runs.writer import CheckpointWriter

pytestmark = pytest.mark.slow

RECORDS = 24
LAYOUT = ParameterLayout(
    parameters=(
        VariableSlot(path="kernel", shape=(20,), offset=0, decayed=True, depthwise=False),
        VariableSlot(path="depthwise", shape=(10,), offset=20, decayed=True, depthwise=True),
        VariableSlot(path="bias", shape=(10,), offset=30),
    ),
    statistics=(VariableSlot(path="mean", shape=(4,), offset=0),),
)

BASE = {
    "optimizer": {"name": "rmsprop", "epsilon": 0.01},
    "schedule": {"learning_rate": 0.1, "decay_rate": 0.5, "decay_every": 7},
    "averaging": {"decay": 0.9},
    "l2": 0.01,
    "input": {"batch_size": 2},
    "topology": {"parameter_shards": 2, "leased_batches": 2},
    "checkpoints": {"every_samples": 6, "keep": None},
    "updates_per_metrics_row": 2,
}
WITHOUT_FLOORS = {
    **BASE,
    "failures": {
        name: {"floor": 0, "share": 1}
        for name in ("max_bad_records", "max_rejected_gradients", "max_worker_restarts")
    },
}
WITH_SGD = {**BASE, "optimizer": {"name": "sgd"}}

# Setting, another value, and the settings that it is compared with.
CHANGES = [
    ("optimizer.name", {"name": "sgd"}, BASE),
    ("optimizer.rho", 0.5, BASE),
    ("optimizer.momentum", 0.5, BASE),
    ("optimizer.momentum", 0.5, WITH_SGD),
    ("optimizer.epsilon", 0.5, BASE),
    ("optimizer.mean_square_start", "zeros", BASE),
    ("schedule.learning_rate", 0.2, BASE),
    ("schedule.decay_rate", 0.9, BASE),
    ("schedule.decay_every", 10, BASE),
    ("schedule.unit", "steps", BASE),
    ("schedule.staircase", False, BASE),
    ("averaging.decay", 0.05, BASE),
    ("averaging.decay", "auto", BASE),
    ("averaging.warm_up", False, BASE),
    ("l2", 0.02, BASE),
    ("global_clipnorm", 0.5, BASE),
    ("updates.compensation.name", {"name": "inverse_staleness"}, BASE),
    ("updates.trace", True, BASE),
    ("l2_depthwise", 0.02, BASE),
    ("epochs", 1.5, BASE),
    ("topology.parameter_shards", 3, BASE),
    ("topology.leased_batches", 3, BASE),
    ("checkpoints.every_samples", 10, BASE),
    ("checkpoints.keep", 1, BASE),
    ("updates_per_metrics_row", 3, BASE),
    ("failures.max_bad_records.floor", 0, BASE),
    ("failures.max_bad_records.share", 0.01, WITHOUT_FLOORS),
    ("failures.max_rejected_in_a_row", 1, BASE),
    ("failures.max_rejected_gradients.floor", 1, BASE),
    ("failures.max_rejected_gradients.share", 0.01, WITHOUT_FLOORS),
    ("failures.max_worker_restarts.floor", 0, BASE),
    ("failures.max_worker_restarts.share", 0.01, WITHOUT_FLOORS),
]
# These have tests of their own below.
OTHERWISE = {
    "seed",
    "precision",
    "jit_compile",
    "topology.workers",
    "topology.threads_per_shard",
    "topology.cpus_per_worker",
    "topology.gpus_per_worker",
    "failures.worker_silence_seconds",
}
# And these in tests/trainer/plane: they need several workers.
OTHERWISE |= {
    "updates.name",
    "updates.backup_workers",
    "updates.staleness.bound",
    "updates.staleness.beyond",
    "updates.compensation.adaptive",
    "updates.compensation.strength",
    "updates.compensation.mean_square_decay",
    "updates.compensation.epsilon",
}


def changed(settings, path, value):
    head, _, rest = path.partition(".")
    if rest in ("", "name"):  # a name comes with its whole section
        return {**settings, head: value}
    return {**settings, head: changed(settings.get(head, {}), rest, value)}


def setting_paths(model, prefix=""):
    """The dotted paths of all single settings; a choice of sections has those of each."""
    for name, field in model.model_fields.items():
        kinds = [
            kind
            for kind in (field.annotation, *getattr(field.annotation, "__args__", ()))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        for kind in kinds:
            yield from setting_paths(kind, f"{prefix}{name}.")
        if not kinds:
            yield prefix + name


def test_no_setting_is_forgotten_here():
    elsewhere = ("model.", "loss.", "input.")
    paths = {path for path in setting_paths(TrainerConfig) if not path.startswith(elsewhere)}
    assert paths == {path for path, _, _ in CHANGES} | OTHERWISE


@pytest.fixture
def dataset(write_dataset):
    return write_dataset([[b"never read"] * RECORDS])


@pytest.fixture
def new_plan(dataset, tmp_path):
    """new_plan(name, settings): a run that starts from given weights, not from a model."""

    def new(name, settings):
        config = TrainerConfig.model_validate(settings)
        state = ShardState.initial(
            np.linspace(-1, 1, 40, dtype=np.float32), np.ones(4, np.float32), config.optimizer
        )
        shard = ParameterShard(state, config.optimizer, DecayBlocks(40, [], 0), 0.9)
        shards = LocalShards([shard])
        run = tmp_path / name
        stream = stream_identity(dataset, config.input)
        writer = CheckpointWriter(run, LAYOUT, stream, shards, shard_count=1)
        writer.begin(0, 0, RecordLedger(0, 1).state())
        writer.poll()
        return TrainingPlan.from_checkpoint(config, str(dataset.root), run, checkpoint_path(run, 0))

    return new


SHARDS = ((16, 24), (0, 4))  # sizes of the parts of parameters and statistics


def observe(plan):
    """Trains with made-up gradients and all that can go wrong; all that can be seen from outside.

    Batches are of 2 records: the second and third give NaN, the fifth comes from a worker that
    then dies, and a record of the sixth is bad.
    """
    shards = new_local_shards(plan)
    coordinator = plan.new_coordinator(shards)
    worker, leases = "first", []
    batches = 0
    while (lease := coordinator.lease(worker)) is not None:
        leases.append(lease)
        first, last = lease
        for start in range(first, last, 2):
            positions = np.arange(start, min(start + 2, last))
            batches += 1
            if batches == 6:
                coordinator.report_bad_record(worker, BadRecordReport(start, "file", 0, ""))
                positions = positions[1:]
            _push(plan, shards, coordinator, (worker, batches), positions)
            if batches == 5:
                coordinator.worker_ended(worker, "killed")
                worker = "second"
                break
    coordinator.finish()
    status = coordinator.status()
    infos = list_checkpoints(plan.run)
    return {
        "leases": leases,
        "rows": [(row.step, row.learning_rate) for row in status.rows],
        "failure": status.failure,
        "checkpoints": [info.step for info in infos],
        "files": sorted(path.name for path in infos[-1].path.glob("*.npz")),
        "traces": sorted(path.name for path in plan.run.glob("updates/*")),
        "weights": load_weights(infos[-1], averaged=False).parameters.tolist(),
        "average": load_weights(infos[-1], averaged=True).parameters.tolist(),
    }


def _push(plan, shards, coordinator, update, positions):
    gradient = np.random.default_rng(positions).standard_normal(40).astype(np.float32)
    if update[1] in (2, 3):
        gradient[7] = np.nan
    count = plan.config.topology.parameter_shards
    squares = shards.stage(
        update,
        [gradient[slice_] for slice_ in _ranges(40, count)],
        [np.full(4, 0.1, np.float32)[slice_] for slice_ in _ranges(4, count)],
    )
    coordinator.commit(GradientReport(update, 0, positions, 1.0), squares)


def _ranges(size, count):
    """Where shards cut, by hand: at multiples of 16, the nearest to equal parts."""
    edges = {
        (40, 2): [0, 16, 40],
        (40, 3): [0, 16, 32, 40],
        (4, 2): [0, 0, 4],
        (4, 3): [0, 0, 0, 4],
    }
    return [slice(*edge) for edge in pairwise(edges[size, count])]


@pytest.mark.parametrize(
    ("path", "value", "base"), CHANGES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_changed_setting_changes_what_training_does(new_plan, path, value, base):
    before, after = new_plan("before", base), new_plan("after", changed(base, path, value))
    assert before.config != after.config
    assert observe(before) != observe(after)


def test_the_same_settings_do_the_same(new_plan):
    assert observe(new_plan("one", BASE)) == observe(new_plan("two", BASE))


def test_an_automatic_averaging_decay_is_that_of_the_runs_updates(new_plan):
    """24 records in batches of 2 are 12 updates; over 1.3 epochs 31 records are 16."""
    for epochs, updates in ((1, 12), (1.3, 16)):
        settings = {**BASE, "epochs": epochs}
        auto, given = (
            observe(new_plan(f"{name}{epochs}", changed(settings, "averaging.decay", decay)))
            for name, decay in (("auto", "auto"), ("given", 1 - 10 / updates))
        )
        assert auto == given


def test_an_update_of_a_round_is_one_of_fewer(dataset):
    """24 records in batches of 2, three of them an update."""
    synchronous = {"name": "synchronous", "backup_workers": 1}
    settings = {**BASE, "topology": {"workers": 4}, "updates": synchronous}
    assert total_updates(dataset, TrainerConfig.model_validate(settings)) == 4


def test_l2_applies_to_the_decayed_variables_only(new_plan):
    weights = [
        np.asarray(observe(new_plan(str(l2), {**BASE, "l2": l2}))["weights"]) for l2 in (0, 0.1)
    ]
    assert (weights[0][:30] != weights[1][:30]).all()
    np.testing.assert_array_equal(weights[0][30:], weights[1][30:])


def test_another_l2_for_depthwise_kernels_is_for_them_only(new_plan):
    weights = [
        np.asarray(observe(new_plan(name, {**BASE, **fields}))["weights"])
        for name, fields in (
            ("one", {}),
            ("other", {"l2_depthwise": 0}),
            ("neither", {"l2": 0}),
            ("equal", {"l2_depthwise": BASE["l2"]}),
        )
    ]
    one, other, neither, equal = weights
    np.testing.assert_array_equal(one, equal)
    np.testing.assert_array_equal(one[:20], other[:20])
    np.testing.assert_array_equal(other[20:], neither[20:])
    assert (one[20:30] != other[20:30]).all()


def test_a_checkpoint_of_another_optimizer_is_refused(new_plan):
    plan = new_plan("run", BASE)
    config = TrainerConfig.model_validate(WITH_SGD)
    other = TrainingPlan.from_checkpoint(config, plan.dataset_root, plan.run, plan.checkpoint)
    with pytest.raises(CheckpointError, match=r"expected the state of sgd .*mean_square"):
        other.new_shard(0)


@pytest.mark.parametrize("setting", ["seed", "shuffle_block", "shuffle_mix"])
def test_a_checkpoint_whose_positions_mean_other_records_is_refused(new_plan, setting):
    plan = new_plan("run", BASE)
    config = TrainerConfig.model_validate(changed(BASE, f"input.{setting}", 5))
    other = TrainingPlan.from_checkpoint(config, plan.dataset_root, plan.run, plan.checkpoint)
    with pytest.raises(TrainingError, match=f"{setting}=5"):
        other.new_coordinator(new_local_shards(other))


TINY_MODEL = {"input_size": 32, "width": 0.01, "middle_repeats": 0, "dropout": 0.5}


def test_the_seed_decides_the_first_weights_and_dropout(dataset, tmp_path):
    def start(name, seed, worker="worker-0"):
        config = TrainerConfig.model_validate({"model": TINY_MODEL, "seed": seed})
        checkpoint = write_initial_checkpoint(tmp_path / name, dataset, config)
        plan = TrainingPlan.from_checkpoint(config, str(dataset.root), tmp_path / name, checkpoint)
        shards = new_local_shards(plan)
        coordinator = LocalCoordinator(plan.new_coordinator(shards))
        random.seed()  # what the checkpoint's process did does not reach a worker's
        model = plan.new_worker(worker, shards, coordinator)._replica._model
        dropout = model.get_layer("dropout").seed_generator.state.numpy().tolist()
        return load_weights(describe_checkpoint(checkpoint), averaged=False).parameters, dropout

    weights, dropout = start("one", 1)
    again = start("again", 1)
    np.testing.assert_array_equal(again[0], weights)
    assert again[1] == dropout
    other = start("other", 2)
    assert (other[0] != weights).any()
    assert other[1] != dropout
    assert start("worker", 1, "worker-1")[1] != dropout, "workers must not drop the same units"


@pytest.mark.parametrize(
    ("settings", "nodes", "expected"),
    [
        ({"workers": 1}, [(8, 0)], (8, 0)),
        ({"workers": 3}, [(8, 0)], (2, 0)),
        ({"workers": 16}, [(8, 0)], None),
        ({"workers": 3, "cpus_per_worker": 0.5}, [(8, 0)], (0.5, 0)),
        ({"workers": 80, "cpus_per_worker": 0.1}, [(8, 0)], (0.1, 0)),
        ({"workers": 2}, [(4, 0)] * 3, (4, 0)),  # not a half of all 12: no node has 6
        ({"workers": 5}, [(8, 0)] * 4, (4, 0)),
        ({"workers": 2, "cpus_per_worker": 6}, [(4, 0)] * 3, None),
        ({"workers": 4, "gpus_per_worker": 1}, [(8, 2), (8, 2)], (4, 1)),
        ({"workers": 4, "gpus_per_worker": 0.5}, [(8, 0), (8, 2)], (2, 0.5)),
        ({"workers": 3, "gpus_per_worker": 0.6}, [(8, 2)], None),  # not on what is left of two
        ({"workers": 20, "gpus_per_worker": 0.1}, [(20, 2)], (1, 0.1)),
        ({"workers": 3, "gpus_per_worker": 0.5}, [(8, 1.5)], (2, 0.5)),
        ({"workers": 3, "gpus_per_worker": 1}, [(8, 2), (8, 0)], None),
        ({"workers": 2}, [(8, 2)], (4, 1)),  # one each where there are any
        ({"workers": 3}, [(8, 2)], None),  # and not slowly without one
        ({"workers": 3, "gpus_per_worker": 0}, [(8, 2)], (2, 0)),
        ({"workers": 2, "gpus_per_worker": 2}, [(8, 2), (8, 3)], (8, 2)),
    ],
)
def test_workers_get_cores_and_gpus_on_nodes_that_have_them(settings, nodes, expected):
    config, nodes = TopologyConfig(**settings), [Resources(*node) for node in nodes]
    assert worker_share(config, nodes, gpus_per_worker(config, nodes)) == expected


def test_a_shard_uses_as_many_threads_as_set(new_plan):
    before = numba.get_num_threads()
    try:
        for threads in (numba.config.NUMBA_NUM_THREADS, 1):
            settings = changed(BASE, "topology.threads_per_shard", threads)
            ParameterShardProcess().start(new_plan(f"threads{threads}", settings), 0)
            assert numba.get_num_threads() == threads
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize(
    ("wanted", "on_gpu", "expected"),
    [(None, True, True), (None, False, False), (False, True, False), (True, False, True)],
)
def test_a_worker_compiles_as_set_or_where_it_has_a_gpu(wanted, on_gpu, expected):
    config = TrainerConfig.model_validate({} if wanted is None else {"jit_compile": wanted})
    assert is_compiled(config.jit_compile, on_gpu) is expected


def test_threads_and_precision_of_a_worker_are_as_set():
    """In a process of its own: TensorFlow takes both before its first operation only."""
    code = """if True:
        from manylabel.trainer.program.device import configure_device
        from manylabel.trainer.config import Precision
        assert configure_device(1, Precision.BFLOAT16) is False
        import keras, tensorflow as tf
        layer = keras.layers.Dense(2)
        assert layer(tf.ones([1, 3])).dtype == tf.bfloat16
        assert layer.kernel.dtype == "float32"
        assert tf.config.threading.get_intra_op_parallelism_threads() == 1
    """
    repository = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=repository, timeout=120)


def test_the_defaults_are_the_papers_jft_recipe():
    config = TrainerConfig()
    assert isinstance(config.optimizer, RMSprop)
    assert config.optimizer.momentum == 0.9
    assert (config.schedule.learning_rate, config.schedule.decay_rate) == (0.001, 0.9)
    assert config.schedule.decay_every == 3_000_000
    assert config.l2 == 1e-5
    assert config.model.dropout == 0
    assert SGD().momentum == 0.9


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("learning_rate", 0.1),  # belongs into schedule
        ("topology.gpus", 1),
        ("checkpoints.every", 1),
        ("failures.max_restarts", 1),
        ("l2", -1e-5),
        ("global_clipnorm", 0),
        ("l2_depthwise", -1e-5),
        ("epochs", 0),
        ("seed", -1),
        ("seed", 2**32),
        ("precision", "float16"),
        ("updates_per_metrics_row", 0),
        ("topology.workers", 0),
        ("topology.parameter_shards", 0),
        ("topology.threads_per_shard", 0),
        ("topology.gpus_per_worker", -1),
        ("topology.gpus_per_worker", 1.5),  # Ray shares one GPU, or gives whole ones
        ("topology.cpus_per_worker", 0),
        ("topology.leased_batches", 0),
        ("checkpoints.every_samples", 0),
        ("checkpoints.keep", 0),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(path, value):
    with pytest.raises(ValidationError) as caught:
        TrainerConfig.model_validate(changed({}, path, value))
    assert [".".join(map(str, error["loc"])) for error in caught.value.errors()] == [path]


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        ({"name": "downpour"}, "synchronous"),
        ({"staleness": {"bound": -1}}, "staleness.bound"),
        ({"staleness": {"beyond": "drop"}}, "staleness.bound"),
        ({"staleness": {"bound": 1, "beyond": "forget"}}, "staleness.beyond"),
        ({"compensation": {"name": "dc_asgd", "mean_square_decay": 1}}, "mean_square_decay"),
        ({"backup_workers": 1}, "asynchronous.backup_workers"),
        ({"name": "synchronous", "staleness": {"bound": 1}}, "synchronous.staleness"),
        ({"name": "synchronous", "backup_workers": 3}, "workers = 3, received 3"),
    ],
)
def test_updates_that_make_no_sense_are_refused_by_name(updates, message):
    with pytest.raises(ValidationError, match=message):
        TrainerConfig.model_validate({"topology": {"workers": 3}, "updates": updates})


def test_updates_are_asynchronous_unless_they_are_named():
    config = TrainerConfig.model_validate({"updates": {"staleness": {"bound": 4}}})
    assert config.updates.name == "asynchronous"
    assert TrainerConfig().updates.name == "asynchronous"


def test_a_resumed_run_may_begin_or_end_a_compensation_that_remembers(new_plan):
    plan = new_plan("run", BASE)
    delay = {**BASE, "updates": {"compensation": {"name": "dc_asgd"}}}
    for settings, slots in ((delay, {"delay_mean_square"}), (BASE, set())):
        config = TrainerConfig.model_validate(settings)
        resumed = TrainingPlan.from_checkpoint(config, plan.dataset_root, plan.run, plan.checkpoint)
        shards = new_local_shards(resumed)
        stream = stream_identity(Dataset.open(plan.dataset_root), config.input)
        step = 1 if slots else 2
        writer = CheckpointWriter(plan.run, LAYOUT, stream, shards, shard_count=2)
        shards.stage(("a", 0), *([np.ones(n, np.float32) for n in sizes] for sizes in SHARDS))
        shards.apply(("a", 0), 0.1, 0.9)
        writer.begin(step, 0, RecordLedger(0, 1).state())
        writer.poll(wait=True)
        state = load_shard(checkpoint_path(plan.run, step), 0, 2)
        assert set(state.slots) == {"mean_square", "momentum"} | slots
        plan = TrainingPlan.from_checkpoint(
            config, plan.dataset_root, plan.run, checkpoint_path(plan.run, step)
        )


def test_settings_cannot_be_changed_in_place():
    config = TrainerConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.l2 = 0.5  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        config.topology.workers = 2  # type: ignore[misc]
