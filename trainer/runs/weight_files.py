"""Weights in files that Keras wrote: .keras, .weights.h5, and .h5 as keras.applications has them.

Only arrays are read, and of those only the ones that are asked for: no model is made from a file,
and nothing that a file says is executed. What HDF5 can do beyond holding arrays (values that lie in
other files, compression, whose results no size bounds) is refused.

    .keras           a zip with model.weights.h5
    .weights.h5      layers/conv2d_3/vars/0 ...; the attribute `name` of vars is the layer's
    .h5              the attribute `layer_names`; in each layer's group, `weight_names`; either at
                     the root or below model_weights
"""

import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

import h5py
import numpy as np
from numpy.typing import NDArray
from upath import UPath

from manylabel.storage.errors import reason_of
from manylabel.storage.locations import Location
from manylabel.trainer.errors import InitialWeightsError

_ARCHIVE = b"PK\x03\x04"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MEMBER = "model.weights.h5"
# ConvNeXt's largest, the deepest network of keras.applications, has 2,000 groups; links in a file
# may lead round in circles.
_GROUPS = 100_000
_DEPTH = 32
# What a damaged file makes h5py and zipfile raise.
_READING = (OSError, RuntimeError, ValueError, TypeError, KeyError, zipfile.BadZipFile)


@dataclass(frozen=True)
class FileArray:
    """An array of a file that is open.

    Attributes:
        location: of the file.
    """

    location: str
    dataset: h5py.Dataset

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.dataset.shape)

    def read(self) -> NDArray[np.float32]:
        """All values.

        Raises:
            InitialWeightsError: they are no floating-point numbers, lie elsewhere, are compressed,
                or cannot be read.
        """
        try:
            self._check()
            return np.asarray(self.dataset[()], np.float32)
        except _READING as error:
            _unreadable(self.location, error)

    def _check(self) -> None:
        dataset = self.dataset
        if dataset.dtype.kind != "f":
            _refuse(self.location, f"{dataset.name}: expected numbers, received {dataset.dtype}")
        if dataset.external or dataset.is_virtual:
            _refuse(self.location, f"the values of {dataset.name} lie in another file")
        # What a filter makes of the stored bytes, or a chunk beyond the array's edge, has no bound.
        if dataset.id.get_create_plist().get_nfilters() or np.prod(dataset.chunks or 0) > max(
            dataset.size, 1
        ):
            _refuse(self.location, f"{dataset.name} is compressed, which Keras does not do")


@contextmanager
def weight_file(location: Location) -> Iterator[dict[str, list[FileArray]]]:
    """The arrays of each layer in a file, by the layer's name; they can be read in the block.

    Layers of nested models stand beside the others.

    Raises:
        InitialWeightsError: there is no such file, or it is none of those that Keras writes.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(UPath(location).open("rb"))
            layers = _layers(str(location), stack.enter_context(_hdf5(str(location), file)))
        except FileNotFoundError:
            _refuse(location, "there is no such file")
        except _READING as error:
            _unreadable(location, error)
        if not any(layers.values()):
            _refuse(location, "there are no weights in it")
        yield layers


def _hdf5(location: str, file: BinaryIO) -> h5py.File:
    begin = file.read(len(_HDF5))
    file.seek(0)
    if begin.startswith(_ARCHIVE):
        return h5py.File(io.BytesIO(_member(location, file)), "r")
    if begin != _HDF5:
        _refuse(location, f"expected a .keras or .h5 file, received one that begins with {begin!r}")
    return h5py.File(file, "r")


def _member(location: str, file: BinaryIO) -> bytes:
    with zipfile.ZipFile(file) as archive:
        if _MEMBER not in archive.namelist():
            _refuse(location, f"expected {_MEMBER} in it, as in a .keras file, found none")
        member = archive.getinfo(_MEMBER)
        if member.compress_type != zipfile.ZIP_STORED:
            _refuse(location, f"its {_MEMBER} is compressed, which Keras does not do; unpack it")
        return archive.read(member)


def _layers(location: str, file: h5py.File) -> dict[str, list[FileArray]]:
    root = file
    if "model_weights" in file:
        root = _open(location, file, "model_weights", h5py.Group)
    named = _listed_layers if _text_list(root, "layer_names") else _layers_with_variables
    layers: dict[str, list[FileArray]] = {}
    for name, arrays in named(location, root):
        if arrays and layers.get(name):
            _refuse(location, f"expected one layer of each name, found two of {name}")
        layers[name] = layers.get(name) or arrays
    return layers


def _listed_layers(location: str, root: h5py.Group) -> Iterator[tuple[str, list[FileArray]]]:
    for name in _text_list(root, "layer_names"):
        group = _open(location, root, name, h5py.Group)
        owned: dict[str, list[FileArray]] = {}
        for path in _text_list(group, "weight_names"):
            array = FileArray(location, _open(location, group, path, h5py.Dataset))
            owned.setdefault(path.split("/")[-2] if "/" in path else name, []).append(array)
        if len(owned) > 1:  # a nested model
            yield from owned.items()
        else:
            yield name, [array for arrays in owned.values() for array in arrays]


def _layers_with_variables(
    location: str, root: h5py.Group
) -> Iterator[tuple[str, list[FileArray]]]:
    groups: list[tuple[h5py.Group, int]] = [(root, 0)]
    opened = 0
    while groups:
        group, depth = groups.pop()
        opened += len(group)
        if depth > _DEPTH or opened > _GROUPS:
            _refuse(location, f"expected at most {_GROUPS:,} groups, {_DEPTH} deep, found more")
        for key in group:
            if depth == 0 and key.startswith("optimizer"):
                continue
            child = _open(location, group, key)
            if not isinstance(child, h5py.Group):
                continue
            if key != "vars":
                groups.append((child, depth + 1))
            elif len(child):
                yield _own_name(location, child), _variables(location, child)


def _own_name(location: str, variables: h5py.Group) -> str:
    name = variables.attrs.get("name")
    if not isinstance(name, str):
        _refuse(
            location,
            f"{variables.name} does not say which layer it is of, as an earlier version of Keras "
            "wrote it; load the model there and save its weights as .h5",
        )
    return name


def _variables(location: str, group: h5py.Group) -> list[FileArray]:
    return [
        FileArray(location, _open(location, group, key, h5py.Dataset))
        for key in sorted(group, key=int)
    ]


def _text_list(group: h5py.Group, name: str) -> list[str]:
    """An attribute that is a list of names; a long one is in parts, name0, name1 and so on."""
    parts = [name] if name in group.attrs else []
    while not parts or parts[-1] != name:
        part = f"{name}{len(parts)}"
        if part not in group.attrs:
            break
        parts.append(part)
    values = [value for part in parts for value in np.atleast_1d(group.attrs[part])]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _open(location: str, group: h5py.Group, path: str, kind: type = h5py.HLObject) -> Any:
    """What a group has at a path, where no step of it leads out of the file."""
    place: Any = group
    for part in filter(None, path.split("/")):
        if not isinstance(place, h5py.Group) or part not in place:
            _refuse(location, f"is damaged: {group.name} has no {path}")
        if not isinstance(place.get(part, getlink=True), h5py.HardLink):
            _refuse(location, f"expected weights, found in {place.name} a link: {part}")
        place = place[part]
    if not isinstance(place, kind):
        _refuse(location, f"is damaged: {place.name} is not what it should be")
    return place


def _refuse(location: Location, problem: str) -> NoReturn:
    raise InitialWeightsError(
        f"{location}: {problem}; trainer.model.initial_weights takes a .keras or .h5 file of "
        "Keras, a checkpoint, or the name that keras.applications has for the network"
    )


def _unreadable(location: Location, error: Exception) -> NoReturn:
    raise InitialWeightsError(
        f"{location}: cannot be read: {reason_of(error)}; put it there "
        "anew, or name another as trainer.model.initial_weights"
    ) from error
