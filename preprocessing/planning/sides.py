"""The part of phase one's graph that chooses sides: what looks alike is not parted."""

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import pyarrow as pa

from manylabel.preprocessing.config import HeldoutConfig
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
from manylabel.preprocessing.transport.beam import beam
from manylabel.preprocessing.transport.shuffle import Bucketed, Collect, PCollection, Shuffle, cut

AsMultiMap, AsSingleton = beam.pvalue.AsMultiMap, beam.pvalue.AsSingleton
Table = pa.Table


@beam.ptransform_fn
def Split(images: PCollection, config: HeldoutConfig, buckets: int) -> PCollection:
    """Tables with a column `heldout`, which `decisions.split` says how to fill."""
    groups = (
        images
        | "Place" >> Place(config, buckets)
        | "ByPlace" >> Shuffle(place_hash, buckets)
        | "Sort" >> beam.MapTuple(lambda _, table: sort_by_place(table)).with_output_types(Table)
    )
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
