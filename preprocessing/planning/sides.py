"""The part of phase one's graph that is about sides: what looks alike is not parted.

`Split` chooses them; `KeepApart` is given them, by a catalog that lists what is held out.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from manylabel.preprocessing.config import HeldoutConfig, PreprocessingConfig
from manylabel.preprocessing.decisions.apart import keep_known_labels, part
from manylabel.preprocessing.decisions.columns import numbers
from manylabel.preprocessing.decisions.components import group_edges
from manylabel.preprocessing.decisions.hashing import mix
from manylabel.preprocessing.decisions.looks import band_bucket, banded, look_edges
from manylabel.preprocessing.decisions.split import (
    decide_sides,
    find_cut,
    place_components,
    qualifying_sizes,
    sort_by_place,
    surely_seen,
    unite_keys,
    with_place,
)
from manylabel.preprocessing.decisions.vocabulary import count_labels, frequent_labels
from manylabel.preprocessing.planning.outputs import REJECTED, UNKNOWN, tagged
from manylabel.preprocessing.transport.beam import beam
from manylabel.preprocessing.transport.shuffle import Bucketed, Collect, PCollection, Shuffle, cut
from manylabel.storage.schema import SplitName

AsMultiMap, AsSingleton = beam.pvalue.AsMultiMap, beam.pvalue.AsSingleton
Table = pa.Table


@beam.ptransform_fn
def Split(images: PCollection, config: HeldoutConfig, buckets: int) -> PCollection:
    """Tables with a column `heldout`, which `decisions.split` says how to fill."""
    groups = images | "Groups" >> Groups(config, buckets)
    cut_place = (
        groups
        | "Sizes" >> beam.Map(qualifying_sizes, config).with_output_types(Table)
        | "Cut" >> Collect(partial(find_cut, size=config.size)).with_output_types(int)
    )
    seen = (
        groups
        | "Above" >> beam.Map(surely_seen, AsSingleton(cut_place), config).with_output_types(Table)
        | "Seen" >> Collect(unite_keys).with_output_types(np.ndarray)
    )
    return groups | "Decide" >> beam.Map(
        decide_sides, AsSingleton(cut_place), AsSingleton(seen), config
    ).with_output_types(Table)


@beam.ptransform_fn
def KeepApart(images: PCollection, config: PreprocessingConfig, buckets: int) -> PCollection:
    """Tables of the images of both sides that stay, under `images`; and what `decisions.apart`
    rejects and does not know, under its tags.

    Args:
        images: With the column `heldout`.
    """
    minimum = config.labels.minimum_count
    parted = (
        images
        | "Groups" >> Groups(config.heldout, buckets)
        | "Part"
        >> beam.FlatMap(part_groups, config.heldout)
        .with_output_types(Table, **{REJECTED[SplitName.TRAIN]: Table})
        .with_outputs(REJECTED[SplitName.TRAIN], main="images")
    )
    known = (
        parted.images
        | "Count" >> beam.Map(count_labels).with_output_types(Table)
        | "Known"
        >> Collect(partial(frequent_labels, minimum=minimum)).with_output_types(np.ndarray)
    )
    tags = (*REJECTED.values(), UNKNOWN)
    kept = parted.images | "KeepKnown" >> beam.FlatMap(
        keep_known, AsSingleton(known), config
    ).with_output_types(Table, **dict.fromkeys(tags, Table)).with_outputs(*tags, main="images")
    rejected = (parted[REJECTED[SplitName.TRAIN]], kept[REJECTED[SplitName.TRAIN]])
    return {
        "images": kept.images,
        UNKNOWN: kept[UNKNOWN],
        REJECTED[SplitName.TRAIN]: rejected | "AllRejected" >> beam.Flatten(),
        REJECTED[SplitName.HELDOUT]: kept[REJECTED[SplitName.HELDOUT]],
    }


def part_groups(images: pa.Table, config: HeldoutConfig) -> Iterator[Any]:
    """A step of `KeepApart`."""
    left, rejected = part(images, config)
    yield from tagged(REJECTED[SplitName.TRAIN], rejected)
    if left.num_rows:
        yield left


def keep_known(images: pa.Table, known: np.ndarray, config: PreprocessingConfig) -> Iterator[Any]:
    """A step of `KeepApart`."""
    kept = keep_known_labels(images, known, config.labels.minimum_count, config.heldout)
    for side, rejected in kept.rejected.items():
        yield from tagged(REJECTED[side], rejected)
    yield from tagged(UNKNOWN, kept.unknown)
    if kept.images.num_rows:
        yield kept.images


@beam.ptransform_fn
def Groups(images: PCollection, config: HeldoutConfig, buckets: int) -> PCollection:
    """Tables of whole groups, sorted by their place."""
    return (
        images
        | "Place" >> Place(config, buckets)
        | "ByPlace" >> Shuffle(place_hash, buckets)
        | "Sort" >> beam.MapTuple(lambda _, table: sort_by_place(table)).with_output_types(Table)
    )


@beam.ptransform_fn
def Place(images: PCollection, config: HeldoutConfig, buckets: int) -> PCollection:
    """Tables with a column `place`: the hash of what may not be parted from an image."""
    tables = images | "Tables" >> beam.Values().with_output_types(Table)
    edges = [tables | "GroupEdges" >> beam.Map(group_edges).with_output_types(Table)]
    if config.duplicate_distance:  # Images of equal looks have the same token without an edge.
        edges.append(tables | "LookEdges" >> LookEdges(config.duplicate_distance, buckets))
    roots = (
        edges
        | "Edges" >> beam.Flatten()
        | "Components"
        >> Collect(partial(place_components, salt=config.salt)).with_output_types(Table)
        | "RootsByToken" >> beam.FlatMap(cut, token_hash, buckets).with_output_types(Bucketed)
    )
    return images | "Join" >> beam.Map(place_bucket, AsMultiMap(roots), config).with_output_types(
        Table
    )


def place_bucket(
    bucketed: Bucketed, roots: Mapping[int, Iterable[pa.Table]], config: HeldoutConfig
) -> pa.Table:
    """A step of `Place`."""
    bucket, images = bucketed
    return with_place(images, list(roots[bucket]), config)


@beam.ptransform_fn
def LookEdges(tables: PCollection, distance: int, buckets: int) -> PCollection:
    """Edges between looks that are near to each other."""
    return (
        tables
        | "Bands" >> beam.Map(banded, distance).with_output_types(Table)
        | "ByBand" >> Shuffle(partial(band_bucket, distance=distance), buckets)
        | "Near"
        >> beam.MapTuple(lambda _, table: look_edges(table, distance)).with_output_types(Table)
    )


def token_hash(table: pa.Table) -> np.ndarray:
    """Key of a shuffle by token."""
    return mix(numbers(table, "token"))


def place_hash(table: pa.Table) -> np.ndarray:
    """Key of a shuffle by group."""
    return mix(numbers(table, "place"))
