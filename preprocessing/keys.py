"""Phase one, on Beam: everything that is decided about a dataset, from keys alone.

Each image is read and decoded once here, for its perceptual hash and to find out whether it can
be used at all; its pixels go no further. So every rejection falls in this phase, before labels
are counted, and the counts in `labels.parquet` are exact.

Nothing here depends on the order in which Beam delivers: what is collected is sorted, or made into
a set or a count.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

from upath import UPath

from manylabel.preprocessing import dataset_plan
from manylabel.preprocessing.beam_runner import beam
from manylabel.preprocessing.catalogs import read_catalog
from manylabel.preprocessing.config import HeldoutConfig, PreprocessingConfig
from manylabel.preprocessing.fetch import fetch, file_digest
from manylabel.preprocessing.images import difference_hash
from manylabel.preprocessing.labels import LabelCount, build_vocabulary, present
from manylabel.preprocessing.listing import (
    Candidate,
    Duplicate,
    image_key,
    merge_equal_files,
    merge_rows,
)
from manylabel.preprocessing.near_duplicates import bands, close_pairs, connected_components
from manylabel.preprocessing.rejections import ImageRejectedError, Rejection, RejectReason
from manylabel.preprocessing.split import (
    find_cut,
    group_edges,
    hash_token,
    own_token,
    qualifies,
    record_order,
    shard_number,
    stable_hash,
)
from manylabel.storage.image_policy import ImageConfig
from manylabel.storage.manifest import REJECTED_NAME
from manylabel.storage.schema import DUPLICATES_SCHEMA, REJECTED_SCHEMA, SplitName
from manylabel.storage.tables import write_rows

PCollection = Any
"""beam.PCollection; mypy does not analyse Beam."""

AsSingleton = beam.pvalue.AsSingleton


def plan_dataset(
    pipeline: beam.Pipeline, config: PreprocessingConfig, image_root: UPath, root: UPath
) -> None:
    """Adds the whole of phase one to a pipeline; its results are files below `root`."""
    rows = pipeline | beam.Create([config.catalog]) | "Read" >> beam.FlatMap(read_catalog)
    listed = rows | "CountSpellings" >> CountDistinct(lambda row: row.image)
    merged = (
        rows
        | "ByImage" >> beam.Map(lambda row: (image_key(row.image), row))
        | "GatherRows" >> beam.GroupByKey()
        | "MergeRows" >> beam.FlatMapTuple(merge_rows)
    )
    checked = (
        merged | "Merged" >> Only(Candidate) | "Check" >> beam.Map(check, image_root, config.images)
    )
    unique = (
        checked
        | "Checked" >> Only(Candidate)
        | "ByDigest" >> beam.Map(lambda candidate: (candidate.digest, candidate))
        | "GatherEqual" >> beam.GroupByKey()
        | "MergeEqual" >> beam.FlatMapTuple(lambda _, equal: merge_equal_files(equal))
    )
    frequent = (
        unique | "Unique" >> Only(Candidate) | KeepFrequentLabels(config.labels.minimum_count)
    )
    sided = frequent | "Frequent" >> Only(Candidate) | ChooseSides(config.heldout)
    sided | WritePlan(listed, config.shards.images_per_shard, root)
    (
        (merged, checked, frequent)
        | "AllRejections" >> beam.Flatten()
        | "Rejections" >> Only(Rejection)
        | "WriteRejections" >> WriteSorted(root / REJECTED_NAME, REJECTED_SCHEMA)
    )
    (
        (merged, unique)
        | "AllDuplicates" >> beam.Flatten()
        | "Duplicates" >> Only(Duplicate)
        | "WriteDuplicates" >> WriteSorted(root / dataset_plan.DUPLICATES_NAME, DUPLICATES_SCHEMA)
    )


def check(candidate: Candidate, image_root: UPath, policy: ImageConfig) -> Candidate | Rejection:
    """The candidate with digest and perceptual hash, or why its file cannot be used."""
    try:
        data = fetch(image_root, candidate.image_id, policy.max_bytes)
        look = difference_hash(data, policy)
    except ImageRejectedError as rejected:
        return Rejection(candidate.image_id, rejected.reason, rejected.detail)
    return replace(candidate, digest=file_digest(data), perceptual_hash=look)


@beam.ptransform_fn
def KeepFrequentLabels(candidates: PCollection, minimum: int) -> PCollection:
    """Candidates with frequent labels only, and a Rejection for each that has none left."""
    frequent = (
        candidates
        | beam.FlatMap(lambda candidate: present(candidate.labels))
        | beam.combiners.Count.PerElement()
        | beam.Filter(lambda counted: counted[1] >= minimum)
        | beam.Keys()
        | Collect(frozenset)
    )
    return candidates | "Drop" >> beam.Map(drop_rare_labels, AsSingleton(frequent), minimum)


def drop_rare_labels(
    candidate: Candidate, frequent: Collection[str], minimum: int
) -> Candidate | Rejection:
    """The candidate with its frequent labels, or its rejection when none is left."""
    labels = {name: value for name, value in candidate.labels.items() if name in frequent}
    if present(labels):
        return replace(candidate, labels=labels)
    detail = f"none of its labels is on {minimum} images (labels.minimum_count)"
    return Rejection(candidate.image_id, RejectReason.NO_LABEL_LEFT, detail)


@beam.ptransform_fn
def ChooseSides(candidates: PCollection, config: HeldoutConfig) -> PCollection:
    """Pairs (side, candidate).

    A group is held out when its hash is below the cut and each of its images has enough labels
    that training has seen. "Seen" is judged once, by what training has without any group below
    the cut; groups that fall short go back to training, which adds to what it has seen and so
    leaves all the others good.
    """
    minimum = config.minimum_labels
    groups = candidates | GatherGroups(config)
    cut = (
        groups
        | "Qualified" >> beam.Filter(lambda group: qualifies(group[1], None, minimum))
        | "Sizes" >> beam.MapTuple(lambda place, images: (place, len(images)))
        | "Cut" >> Collect(lambda sizes: find_cut(sizes, config.size))
    )
    surely_seen = (
        groups
        | "Above"
        >> beam.Filter(
            lambda group, cut: group[0] >= cut or not qualifies(group[1], None, minimum),
            AsSingleton(cut),
        )
        | "Labels"
        >> beam.FlatMapTuple(
            lambda _, images: {name for image in images for name in present(image.labels)}
        )
        | "Seen" >> beam.Distinct()
        | "SeenSet" >> Collect(frozenset)
    )
    return groups | "Decide" >> beam.FlatMap(
        decide_side, AsSingleton(cut), AsSingleton(surely_seen), minimum
    )


def decide_side(
    group: tuple[int, tuple[Candidate, ...]], cut: int, seen: Collection[str], minimum: int
) -> Iterator[tuple[SplitName, Candidate]]:
    """The images of one group, all on the same side."""
    place, images = group
    heldout = place < cut and qualifies(images, seen, minimum)
    side = SplitName.HELDOUT if heldout else SplitName.TRAIN
    return ((side, replace(image, near_duplicate_group=place)) for image in images)


@beam.ptransform_fn
def GatherGroups(candidates: PCollection, config: HeldoutConfig) -> PCollection:
    """Pairs (hash of the group, its images): the connected components of looks and groups."""
    edges = [candidates | "GroupEdges" >> beam.FlatMap(group_edges, config)]
    if config.duplicate_distance:  # Images of equal hashes have the same token without an edge.
        edges.append(candidates | LookEdges(config.duplicate_distance))
    roots = (
        edges | beam.Flatten() | Collect(connected_components) | "Roots" >> beam.FlatMap(dict.items)
    )
    tokens = candidates | "Tokens" >> beam.Map(lambda image: (own_token(image, config), image))
    return (
        {"root": roots, "images": tokens}
        | beam.CoGroupByKey()
        | "ToRoot" >> beam.FlatMapTuple(name_by_root)
        | "Gather" >> beam.GroupByKey()
        | "Place"
        >> beam.MapTuple(lambda root, images: (stable_hash(root, config.salt), tuple(images)))
    )


def name_by_root(token: str, joined: dict[str, Collection[Any]]) -> Iterator[tuple[str, Candidate]]:
    """Images under the smallest token of their component; a token without edges is its own."""
    (root,) = joined["root"] or (token,)
    return ((root, image) for image in joined["images"])


@beam.ptransform_fn
def LookEdges(candidates: PCollection, distance: int) -> PCollection:
    """Edges between the tokens of pictures that look alike."""
    return (
        candidates
        | beam.Map(lambda candidate: candidate.perceptual_hash)
        | beam.Distinct()
        | beam.FlatMap(lambda look: [(band, look) for band in bands(look, distance)])
        | beam.GroupByKey()
        | beam.FlatMapTuple(lambda _, looks: close_pairs(looks, distance))
        | beam.MapTuple(lambda one, other: (hash_token(one), hash_token(other)))
    )


@beam.ptransform_fn
def WritePlan(
    sided: PCollection, listed: PCollection, images_per_shard: int, root: UPath
) -> PCollection:
    """Writes the classes, the totals and the work item of each shard that has an image."""
    classes = (
        sided
        | beam.FlatMapTuple(lambda side, image: ((name, side) for name in present(image.labels)))
        | "CountLabels" >> beam.combiners.Count.PerElement()
        | "Classes" >> Collect(build_vocabulary)
    )
    totals = (
        sided
        | "Sides" >> beam.Keys()
        | "CountSides" >> beam.combiners.Count.PerElement()
        | "Totals" >> Collect(lambda counted: dict(sorted(counted)))
    )
    classes | "WriteClasses" >> beam.Map(dataset_plan.write_planned_classes, root)
    totals | "WriteTotals" >> beam.Map(dataset_plan.write_totals, AsSingleton(listed), root)
    ids = classes | "Ids" >> beam.Map(class_ids)
    return (
        sided
        | "Plan" >> beam.Map(plan_image, AsSingleton(ids), AsSingleton(totals), images_per_shard)
        | "GatherShards" >> beam.GroupByKey()
        | "WriteShards" >> beam.Map(write_work_item, root)
    )


def class_ids(classes: Iterable[LabelCount]) -> dict[str, int]:
    return {label.name: number for number, label in enumerate(classes)}


def plan_image(
    sided: tuple[SplitName, Candidate],
    ids: dict[str, int],
    totals: dict[SplitName, int],
    images_per_shard: int,
) -> tuple[str, dataset_plan.PlannedImage]:
    """The shard of an image and its record; labels that are no class are left out here."""
    side, image = sided
    known = sorted((ids[name], value) for name, value in image.labels.items() if name in ids)
    shards = dataset_plan.shard_count(totals[side], images_per_shard)
    planned = dataset_plan.PlannedImage(
        image_id=image.image_id,
        digest=image.digest,
        label_ids=[number for number, value in known if value > 0],
        confidences=[value for _, value in known if value > 0],
        negative_ids=[number for number, value in known if value == 0],
        near_duplicate_group=image.near_duplicate_group,
    )
    return dataset_plan.shard_name(side, shard_number(image.image_id, shards), shards), planned


def write_work_item(item: tuple[str, Iterable[dataset_plan.PlannedImage]], root: UPath) -> None:
    shard, images = item
    ordered = sorted(images, key=lambda image: record_order(image.image_id))
    dataset_plan.write_planned(root, shard, ordered)


@beam.ptransform_fn
def Only(elements: PCollection, kind: type) -> PCollection:
    alone = beam.Filter(lambda element: isinstance(element, kind))
    return elements | alone.with_output_types(kind)


@beam.ptransform_fn
def Collect(elements: PCollection, function: Callable[[list[Any]], Any]) -> PCollection:
    """One value made of all elements, also of none.

    As a side input, because a global combine does the same with ten transforms more, and half of
    a small job's time is Beam building its graph.
    """
    everything = beam.pvalue.AsList(elements)
    return elements.pipeline | beam.Impulse() | beam.Map(lambda _, all_: function(all_), everything)


@beam.ptransform_fn
def CountDistinct(elements: PCollection, key: Callable[[Any], Any]) -> PCollection:
    return elements | beam.Map(key) | beam.Distinct() | beam.combiners.Count.Globally()


@beam.ptransform_fn
def WriteSorted(rows: PCollection, path: UPath, schema: Any) -> PCollection:
    """One Parquet file, also of no rows."""
    return rows | Collect(sorted) | beam.Map(lambda rows: write_rows(path, rows, schema))
