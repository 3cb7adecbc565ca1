"""A run that begins with the weights of another training: files as Keras writes them, and ours."""

import hashlib
import json
import os
import pickle
import shutil

import keras
import numpy as np
import pytest

from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import InitialWeightsError
from manylabel.trainer.networks.build import build_model
from manylabel.trainer.networks.config import XceptionConfig
from manylabel.trainer.networks.initial_weights import take_weights
from manylabel.trainer.program.in_process import LocalCoordinator, new_local_shards
from manylabel.trainer.program.initial_state import (
    make_initial_checkpoint,
    write_initial_checkpoint,
)
from manylabel.trainer.program.plan import TrainingPlan
from manylabel.trainer.runs.checkpoint import (
    checkpoint_path,
    describe_checkpoint,
    list_checkpoints,
    load_weights,
)
from manylabel.trainer.runs.directory import describe_run, read_initial_weights
from manylabel.trainer.runs.weight_files import weight_file

pytestmark = pytest.mark.slow

SIZE = 71  # the smallest that keras.applications builds Xception for
FEATURES = 2048
CLASSES = 10
SMALL = {"input_size": 32, "width": 0.125, "middle_repeats": 1}


@pytest.fixture(scope="module")
def reference():
    """keras.applications' Xception with random weights, statistics included, in a process that has
    counted other layers before."""
    keras.utils.set_random_seed(0)
    keras.layers.Conv2D(1, 1), keras.layers.BatchNormalization()
    model = keras.applications.Xception(weights=None, classifier_activation=None)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            channels = layer.gamma.shape
            layer.set_weights(
                [
                    generator.uniform(0.5, 1.5, channels),
                    generator.normal(0, 0.2, channels),
                    generator.normal(0, 0.2, channels),
                    generator.uniform(0.5, 1.5, channels),
                ]
            )
    return model


@pytest.fixture(scope="module")
def files(reference, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    reference.save(folder / "whole.keras")
    reference.save_weights(folder / "only.weights.h5")
    reference.save(folder / "whole.h5")
    trunk = keras.Model(reference.input, reference.get_layer("avg_pool").output)
    user = keras.Sequential([trunk, keras.layers.Dropout(0.2), keras.layers.Dense(5, name="mine")])
    user.save(folder / "nested.h5")
    user.save_weights(folder / "nested.weights.h5")
    return folder


def images(count=2, size=SIZE):
    return np.random.default_rng(1).uniform(-1, 1, (count, size, size, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(reference):
    """Features of two images. The network takes any size; its Input layer names one."""
    trunk = keras.applications.Xception(
        weights=None, include_top=False, pooling="avg", input_shape=(SIZE, SIZE, 3)
    )
    trunk.set_weights(reference.get_weights()[:-2])
    return trunk(images(), training=False).numpy()


@pytest.fixture(scope="module")
def ours():
    return build_model(XceptionConfig(input_size=SIZE), 1000)


def features(model):
    trunk = keras.Model(model.input, model.get_layer("avg_pool").output)
    return trunk(images(), training=False).numpy()


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("whole.keras", True),
        ("only.weights.h5", True),
        ("whole.h5", True),
        ("nested.h5", False),
        ("nested.weights.h5", False),
    ],
)
def test_features_of_a_file_of_keras_are_its_own(files, reference, expected, ours, name, head):
    for variable in ours.weights:
        variable.assign(np.zeros(variable.shape))
    with weight_file(files / name) as layers:
        taken = take_weights(ours, XceptionConfig(), layers, name)
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(features(ours), expected, atol=1e-5)
    assert taken.anew == (() if head else ("predictions",))
    assert taken.unused == (() if head else ("mine",))
    head_now = ours.get_layer("predictions").get_weights()
    for now, there in zip(head_now, reference.layers[-1].get_weights(), strict=True):
        np.testing.assert_array_equal(now, there if head else np.zeros_like(there))


@pytest.fixture
def dataset(write_dataset, labelled_image):
    train = [labelled_image(number, (number % CLASSES,)) for number in range(8)]
    return write_dataset(train=[train], classes=CLASSES)


def settings(**model):
    return TrainerConfig.model_validate(
        {
            "model": model,
            "input": {"batch_size": 2},
            "schedule": {"learning_rate": 1e-3},
            "topology": {"parameter_shards": 2},
        }
    )


def weights_of(checkpoint, averaged=True):
    weights = load_weights(describe_checkpoint(checkpoint), averaged=averaged)
    return weights.layout, weights.parameters, weights.statistics


def model_of(checkpoint, config, classes=CLASSES, averaged=True):
    layout, parameters, statistics = weights_of(checkpoint, averaged)
    model = build_model(config.model, classes)
    layout.assign(model, parameters, statistics)
    return model


def train_on(dataset, run, config, checkpoint):
    """To the end, in this process."""
    plan = TrainingPlan.from_checkpoint(config, str(dataset.root), run, checkpoint)
    shards = new_local_shards(plan)
    coordinator = plan.new_coordinator(shards)
    worker = plan.new_worker("worker-0", shards, LocalCoordinator(coordinator))
    while worker.step():
        pass
    coordinator.finish()
    return list_checkpoints(run)[-1]


def test_a_run_begins_with_a_file_of_keras_and_trains_on(files, expected, dataset, tmp_path):
    """The head has other classes: it begins anew, at the log odds of the labels."""
    location = str(files / "whole.keras")
    config = settings(input_size=SIZE, initial_weights=location)
    run = tmp_path / "run"
    first = write_initial_checkpoint(run, dataset, config)
    begun = model_of(first, config)
    np.testing.assert_allclose(features(begun), expected, atol=1e-5)
    biases = begun.get_layer("predictions").bias.numpy()
    np.testing.assert_allclose(biases[:8], np.log(1.5 / 7.5), rtol=1e-6)
    assert begun.get_layer("predictions").kernel.numpy().std() > 0.01
    record = record_of(run)
    assert (record.location, record.anew, record.unused) == (location, ("predictions",), ())
    trunk = [variable for variable in begun.weights if "predictions" not in variable.path]
    assert record.variables == len(trunk) == 234
    assert record.values == sum(variable.numpy().size for variable in trunk)
    total = hashlib.sha256()
    for variable in sorted(trunk, key=lambda variable: variable.path):
        total.update(f"{variable.path} {tuple(variable.shape)}\0".encode())
        total.update(variable.numpy().tobytes())
    assert record.digest == total.hexdigest()
    assert record.told() == (
        f"began with {location}: 234 variables with 20,861,480 values taken, digest "
        f"{record.digest[:12]}; predictions anew"
    )
    last = train_on(dataset, run, config.model_copy(update={"epochs": 0.5}), first)
    assert (last.step, last.samples) == (2, 4)
    trained = model_of(last.path, config, averaged=False)
    moved = [
        np.abs(now.numpy() - before.numpy()).max()
        for now, before in zip(trained.weights, begun.weights, strict=True)
    ]
    assert np.isfinite(moved).all()
    assert min(moved) > 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of `small_run` that were trained already, by what they were made from."""
    return tmp_path_factory.mktemp("trained"), {}


@pytest.fixture
def small_run(trained, write_dataset, labelled_image, tmp_path):
    """A run of a small network after two updates: its averages are not its weights."""

    def make(names=(), classes=CLASSES):
        folder, steps = trained
        kept = folder / str(len(steps))
        if (names, classes) not in steps:
            train = [labelled_image(50 + number, (number % classes,)) for number in range(4)]
            data = write_dataset(train=[train], classes=classes, names=names, folder="earlier-data")
            config = settings(**SMALL)
            first = write_initial_checkpoint(kept, data, config)
            describe_run(kept, data, config, {})
            steps[names, classes] = kept, train_on(data, kept, config, first).step
        kept, step = steps[names, classes]
        run = shutil.copytree(kept, tmp_path / "earlier")
        return run, describe_checkpoint(checkpoint_path(run, step))

    return make


def record_of(run):
    record = read_initial_weights(run)
    assert record is not None
    return record


def equal_variables(model, other):
    """Paths of the variables that are the same in both."""
    return {
        variable.path
        for variable, there in zip(model.weights, other.weights, strict=True)
        if variable.shape == there.shape and (variable.numpy() == there.numpy()).all()
    }


@pytest.mark.parametrize("named", ["run", "checkpoint"])
def test_a_checkpoint_gives_its_averaged_weights(named, small_run, dataset, tmp_path):
    run, last = small_run()
    location = run if named == "run" else last.path
    config = settings(**SMALL, initial_weights=str(location))
    begun = model_of(write_initial_checkpoint(tmp_path / "run", dataset, config), config)
    averages, weights = (model_of(last.path, config, averaged=kind) for kind in (True, False))
    assert equal_variables(begun, averages) == {variable.path for variable in begun.weights}
    assert equal_variables(begun, weights) != equal_variables(begun, averages)
    record = record_of(tmp_path / "run")
    assert (record.location, record.anew) == (str(last.path), ())


@pytest.mark.parametrize(
    ("there", "here", "told"),
    [
        ({}, {"intermediate_activation": "elu"}, ("activation=elu,", "activation=none;")),
        (
            {"batch_norm_epsilon": 0.01, "intermediate_activation": "relu"},
            {},
            (
                "a xception of intermediate_activation=none, batch_norm_epsilon=0.001, received",
                "with intermediate_activation=relu, batch_norm_epsilon=0.01;",
            ),
        ),
        ({"fully_connected": [8]}, {"fully_connected_activation": "elu"}, None),
        (
            {"fully_connected": [8]},
            {"fully_connected": [8, 8], "fully_connected_activation": "elu"},
            ("fully_connected_activation=elu,", "fully_connected_activation=relu;"),
        ),
        (
            {"name": "inception_v3", "input_size": 75, "padding": "same"},
            {"name": "inception_v3", "input_size": 75},
            ("padding=valid,", "padding=same;"),
        ),
        (
            {"name": "vgg_separable"},
            {"name": "vgg_separable", "stem_stride": 1},
            ("stem_stride=1,", "stem_stride=2;"),
        ),
        (
            {"name": "vgg16", "fully_connected": [8], "input_scale": "caffe"},
            {"name": "vgg16", "fully_connected": [8]},
            ("input_scale=symmetric,", "input_scale=caffe;"),
        ),
        ({}, {"input_size": 40, "dropout": 0.5, "batch_norm_momentum": 0.9}, None),
    ],
)
def test_a_checkpoint_that_learnt_with_other_settings_is_refused(
    there, here, told, dataset, tmp_path
):
    """They have no shape that would not fit."""
    size = {"input_size": 32, "width": 0.125}
    if "name" not in there:
        size["middle_repeats"] = 1
    earlier, run = tmp_path / "earlier", tmp_path / "run"
    config = settings(**size | there)
    write_initial_checkpoint(earlier, dataset, config)
    describe_run(earlier, dataset, config, {})
    config = settings(**size | here, initial_weights=str(earlier))
    if told is None:
        write_initial_checkpoint(run, dataset, config)
        return
    with pytest.raises(InitialWeightsError) as caught:
        write_initial_checkpoint(run, dataset, config)
    for part in told:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", ["other names", "no run beside it", "another number"])
def test_a_head_of_other_classes_begins_anew(case, small_run, dataset, tmp_path):
    names = tuple(f"label{label}" for label in reversed(range(CLASSES)))
    _, last = small_run(
        names if case == "other names" else (), 7 if case == "another number" else CLASSES
    )
    location = last.path
    if case == "no run beside it":
        location = shutil.copytree(last.path, tmp_path / "copied")
    config = settings(**SMALL, head_bias=-3.5, initial_weights=str(location))
    begun = model_of(write_initial_checkpoint(tmp_path / "run", dataset, config), config)
    assert record_of(tmp_path / "run").anew == ("predictions",)
    np.testing.assert_array_equal(begun.get_layer("predictions").bias, np.full(CLASSES, -3.5))


def test_the_same_weights_have_one_digest_in_every_container(small_run, dataset, tmp_path):
    run, last = small_run()
    config = settings(**SMALL)
    model_of(last.path, config).save(tmp_path / "ours.keras")
    model_of(last.path, config).save_weights(tmp_path / "ours.weights.h5")
    digests = set()
    for location in (run, tmp_path / "ours.keras", tmp_path / "ours.weights.h5"):
        config = settings(**SMALL, initial_weights=str(location))
        write_initial_checkpoint(tmp_path / "run", dataset, config)
        digests.add(record_of(tmp_path / "run").digest)
        shutil.rmtree(tmp_path / "run")
    assert len(digests) == 1


def test_a_start_that_never_began_leaves_no_record(small_run, dataset, tmp_path):
    run, _ = small_run()
    config = settings(**SMALL, initial_weights=str(run))
    first = write_initial_checkpoint(tmp_path / "run", dataset, config)
    assert read_initial_weights(tmp_path / "run") is not None
    shutil.rmtree(first)
    write_initial_checkpoint(tmp_path / "run", dataset, settings(**SMALL))
    assert read_initial_weights(tmp_path / "run") is None


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("missing.keras", "missing.keras: there is no such file"),
        ("empty", "received a folder without a checkpoint"),
        ("VGG16", "expected weights of xception: the name Xception that keras.applications has"),
        ("text.h5", "expected a .keras or .h5 file, received one that begins with b'label,na'"),
        ("pipe.h5", "received a pipe or a device"),
        ("~/here.h5", "expected a .keras or .h5 file, received one that begins with b'at home"),
        ("foo://x/y.h5", "received one that cannot be opened (ValueError: "),
        ("x" * 300, "xxx: there is no such file or run"),
    ],
)
def test_a_wrong_location_is_one_line(location, told, dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.h5").write_text("label,name\n" * 9)
    os.mkfifo(tmp_path / "pipe.h5")
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    (tmp_path / "empty" / "here.h5").write_text("at home\n" * 9)
    with pytest.raises(InitialWeightsError) as caught:
        write_initial_checkpoint(
            tmp_path / "run", dataset, settings(**SMALL, initial_weights=location)
        )
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not checkpoint_path(tmp_path / "run", 0).exists()
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


def test_downloaded_weights_of_another_input_scale_are_refused(dataset, tmp_path):
    """Before they are downloaded: they would see colours that they never learnt from."""
    config = settings(
        name="vgg16", input_size=32, width=0.125, fully_connected=[], initial_weights="VGG16"
    )
    with pytest.raises(InitialWeightsError, match=r"input_scale=caffe says, received symmetric"):
        write_initial_checkpoint(tmp_path / "run", dataset, config)


def test_a_file_of_another_size_is_refused_by_what_does_not_fit(files, dataset, tmp_path):
    """Across the process that the first weights are made in."""
    location = str(files / "only.weights.h5")
    config = settings(**SMALL, initial_weights=location)
    with pytest.raises(InitialWeightsError) as caught:
        make_initial_checkpoint(tmp_path / "run", dataset, config)
    assert str(caught.value).startswith(f"trainer.model.initial_weights = {location}: ")
    assert "the first block1_conv1: expected 3×3×3×8, received 3×3×3×32;" in str(caught.value)


def test_where_nothing_can_be_downloaded_the_error_is_one_line(dataset, tmp_path, monkeypatch):
    """Through Keras's own download, in the process that the command starts for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", os.devnull)
    for scheme in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:1")
    config = settings(**SMALL, initial_weights="Xception")
    with pytest.raises(InitialWeightsError) as caught:
        make_initial_checkpoint(tmp_path / "run", dataset, config)
    told = str(caught.value)
    assert "Xception: cannot be downloaded: URL fetch failure on https://storage" in told
    assert f"put the file into {tmp_path / 'manylabel' / 'keras' / 'models'} on" in told
    assert "\n" not in told


def test_the_name_in_keras_applications_takes_what_keras_downloads(
    files, expected, dataset, tmp_path, monkeypatch
):
    """All but the download: the file is one of ours, in the published ones' format."""
    asked = []

    def downloaded(name, *args, **kwargs):
        asked.append(name)
        return str(files / "whole.h5")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", downloaded)
    config = settings(input_size=SIZE, initial_weights="Xception")
    begun = model_of(write_initial_checkpoint(tmp_path / "run", dataset, config), config)
    np.testing.assert_allclose(features(begun), expected, atol=1e-5)
    assert asked == ["xception_weights_tf_dim_ordering_tf_kernels.h5"]
    record = record_of(tmp_path / "run")
    assert (record.location, record.anew) == ("Xception", ("predictions",))


@pytest.mark.parametrize(
    ("pattern", "anew"),
    [("n{:08}", ()), ("label {:04}", ("predictions",)), ("n{:07}", ("predictions",))],
)
def test_imagenets_classifier_is_taken_for_imagenets_classes_alone(
    pattern, anew, files, write_dataset, labelled_image, tmp_path, monkeypatch
):
    """Other data sets have 1,000 labels as well."""
    monkeypatch.setattr(
        "keras.src.utils.file_utils.get_file", lambda *args, **kwargs: str(files / "whole.h5")
    )
    names = [pattern.format(1000 + label) for label in range(1000)]
    data = write_dataset(train=[[labelled_image(0, (0,))]], classes=1000, names=names)
    config = settings(input_size=SIZE, initial_weights="Xception")
    write_initial_checkpoint(tmp_path / "run", data, config)
    assert record_of(tmp_path / "run").anew == anew


def test_resuming_reads_no_initial_weights(small_run, dataset, tmp_path):
    run, _ = small_run()
    moved = tmp_path / "moved"
    config = settings(**SMALL, initial_weights=str(run))
    first = write_initial_checkpoint(tmp_path / "run", dataset, config)
    describe_run(tmp_path / "run", dataset, config, {})
    record = record_of(tmp_path / "run")
    run.rename(moved)
    assert train_on(dataset, tmp_path / "run", config, first).step == 4
    describe_run(tmp_path / "run", dataset, config, {})
    assert record_of(tmp_path / "run") == record
    assert json.loads((tmp_path / "run" / "run.json").read_text())["trainer"]["model"][
        "initial_weights"
    ] == str(run)
