"""Files are read as arrays, and as nothing else."""

import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

from manylabel.trainer.errors import InitialWeightsError
from manylabel.trainer.runs.weight_files import weight_file

pytestmark = pytest.mark.slow

KERNEL = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="mine")])
    model.set_weights([KERNEL, np.ones(4)])
    return model


def read(path):
    with weight_file(path) as layers:
        return {name: [array.read() for array in arrays] for name, arrays in layers.items()}


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.weights.h5"])
def test_each_kind_of_file_gives_its_layers(model, tmp_path, name):
    """Told apart by what is in them: a name may say anything."""
    save = model.save_weights if "weights" in name else model.save
    save(tmp_path / name)
    (tmp_path / name).rename(tmp_path / "b.bin")
    layers = read(tmp_path / "b.bin")
    assert list(layers) == ["mine"]
    np.testing.assert_array_equal(layers["mine"][0], KERNEL)
    np.testing.assert_array_equal(layers["mine"][1], np.ones(4))


def test_an_optimizers_state_is_no_layer(model, tmp_path):
    model.compile("adam", "mse")
    model.fit(np.ones((2, 3)), np.ones((2, 4)), verbose=0)
    for name in ("a.keras", "a.h5"):
        model.save(tmp_path / name)
        assert list(read(tmp_path / name)) == ["mine"]


def test_a_file_on_another_storage_is_read_there(model, tmp_path):
    from upath import UPath

    model.save(tmp_path / "a.keras")
    place = UPath("memory://weights/a.keras")
    place.write_bytes((tmp_path / "a.keras").read_bytes())
    np.testing.assert_array_equal(read("memory://weights/a.keras")["mine"][0], KERNEL)


def test_more_names_than_one_attribute_holds_are_read(tmp_path):
    """HDF5 bounds an attribute to 64 KiB; Keras goes on in layer_names1 and so on."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for part, name in enumerate(("one", "two")):
            file.attrs[f"layer_names{part}"] = np.array([name.encode()])
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}_W:0".encode()]
            group[f"{name}_W:0"] = KERNEL + part
    layers = read(tmp_path / "a.h5")
    np.testing.assert_array_equal(layers["two"][0], KERNEL + 1)
    assert list(layers) == ["one", "two"]


def listed(path, add):
    """A file with one layer, whose kernel `add(group)` puts there as `kernel`."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"mine"]
        group = file.create_group("mine")
        group.attrs["weight_names"] = [b"kernel"]
        add(group)


def outside(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["kernel"] = KERNEL
    (tmp_path / "secret.raw").write_bytes(KERNEL.tobytes())
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "kernel", (3, 4))
    return layout


@pytest.mark.parametrize(
    ("add", "told"),
    [
        (
            lambda group, folder: group.__setitem__(
                "kernel", h5py.ExternalLink(str(folder / "secret.h5"), "kernel")
            ),
            "a link: kernel",
        ),
        (
            lambda group, folder: group.__setitem__("kernel", h5py.SoftLink("/other")),
            "a link: kernel",
        ),
        (
            lambda group, folder: group.create_dataset(
                "kernel", (3, 4), "f4", external=str(folder / "secret.raw")
            ),
            "lie in another file",
        ),
        (
            lambda group, folder: group.create_virtual_dataset("kernel", outside(folder)),
            "lie in another file",
        ),
        (
            lambda group, folder: group.create_dataset("kernel", data=KERNEL, compression="gzip"),
            "compressed",
        ),
        (
            lambda group, folder: group.create_dataset(
                "kernel", (3, 4), "f4", maxshape=(None, None), chunks=(3000, 4000)
            ),
            "compressed",
        ),
        (lambda group, folder: group.create_dataset("kernel", data="text"), "expected numbers"),
        (lambda group, folder: group.create_dataset("kernel", data=[[1, 2]]), "expected numbers"),
        (lambda group, folder: group.create_group("kernel"), "is not what it should be"),
        (lambda group, folder: None, "is damaged: /mine has no kernel"),
    ],
)
def test_what_is_no_plain_array_is_refused(add, told, tmp_path):
    outside(tmp_path)
    listed(tmp_path / "a.h5", lambda group: add(group, tmp_path))
    with pytest.raises(InitialWeightsError, match=told):
        read(tmp_path / "a.h5")


def test_groups_that_contain_themselves_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("layers")
        group["again"] = group
    with pytest.raises(InitialWeightsError, match="32 deep"):
        read(tmp_path / "a.h5")


def test_a_compressed_archive_is_refused(model, tmp_path):
    """Its size says nothing about what it unpacks to."""
    model.save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        weights = archive.read("model.weights.h5")
    with zipfile.ZipFile(tmp_path / "b.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", weights)
    with pytest.raises(InitialWeightsError, match="is compressed, which Keras does not do"):
        read(tmp_path / "b.keras")


WITH_LAMBDA = """
import pathlib, sys, keras
folder = pathlib.Path(sys.argv[1])
mark = str(folder / "ran")
code = keras.layers.Lambda(lambda x: pathlib.Path(mark).write_text("ran") and x)
model = keras.Sequential([keras.Input((3,)), code, keras.layers.Dense(4, name="mine")])
model.save(folder / "a.keras")
"""


def test_a_lambda_in_a_model_is_never_made(tmp_path):
    """Its code is in the file. Keras takes a minute to write that where much is imported."""
    subprocess.run([sys.executable, "-c", WITH_LAMBDA, str(tmp_path)], check=True)
    (tmp_path / "ran").unlink(missing_ok=True)
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        assert b"__lambda__" in archive.read("config.json")
    assert list(read(tmp_path / "a.keras")) == ["mine"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.weights.h5"])
def test_damage_anywhere_is_one_line_or_the_right_weights(model, tmp_path, name):
    """Cut short at many places, and with bytes overwritten."""
    (model.save_weights if "weights" in name else model.save)(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    generator = np.random.default_rng(0)
    problems = []
    for number in range(60):
        damaged = bytearray(whole)
        place = int(generator.integers(len(whole)))
        if number % 2:
            del damaged[place:]
        else:
            damaged[place : place + 16] = generator.bytes(16)
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            read(tmp_path / "damaged")
        except InitialWeightsError as error:
            problems.append(str(error))
    assert len(problems) > 25
    assert not [problem for problem in problems if "\n" in problem]


def test_layers_without_names_are_refused(model, tmp_path):
    model.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "r+") as file:
        del file["layers/dense/vars"].attrs["name"]
    with pytest.raises(InitialWeightsError, match="does not say which layer it is of"):
        read(tmp_path / "a.weights.h5")
