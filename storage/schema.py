"""What a dataset holds: the features of one record and the columns of each table.

Records are serialised `tf.train.Example` messages. The message types are declared here on a
private descriptor pool, so that neither writing nor reading needs TensorFlow, and a process that
also imports TensorFlow has no second registration of the same names.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from manylabel.storage.errors import DatasetError, reason_of

IMAGE_ENCODED = "image/encoded"
IMAGE_ID = "image/id"
IMAGE_HEIGHT = "image/height"
IMAGE_WIDTH = "image/width"
LABEL_IDS = "label/ids"
LABEL_CONFIDENCES = "label/confidences"
LABEL_NEGATIVE_IDS = "label/negative_ids"

INDEX_SCHEMA = pa.schema(
    [
        pa.field("split", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("byte_offset", pa.int64(), nullable=False),
        pa.field("byte_length", pa.int64(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("label_ids", pa.list_(pa.int64()), nullable=False),
    ]
)
"""One row per record, in file order. `shard`: name of its file without the suffix; `byte_offset`:
of the record's header; `byte_length`: of the payload, so the record ends (exclusive) at
`byte_offset + 12 + byte_length + 4`; `label_ids`: as in the record."""

LABELS_SCHEMA = pa.schema(
    [
        pa.field("class_id", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("train_count", pa.int64(), nullable=False),
        pa.field("heldout_count", pa.int64(), nullable=False),
        pa.field("train_share", pa.float64(), nullable=False),
    ]
)
"""One row per class, `class_id` equal to the row number. Counts are images with the label (verified
absences not counted) in each split's shards. `train_share`: of all training labels, `train_count`
over its sum."""

HELDOUT_IMAGES_SCHEMA = pa.schema(
    [
        pa.field("image_row", pa.int64(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("near_duplicate_group", pa.int64(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("place", pa.int64(), nullable=False),
    ]
)
"""One row per held-out image in ascending order of `image_id`, `image_row` counting them from 0.
`near_duplicate_group`: equal for images that look alike or share a value of the group column, from
0 in the order of their first images; `place`: the image's row in its shard's index."""

REJECTED_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)
"""One row per rejected image, or rejected label of an image, sorted."""

DUPLICATES_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("kept_image_id", pa.string(), nullable=False),
    ]
)
"""One row per image that was listed again; `kept_image_id` has its labels."""

UNKNOWN_LABELS_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),
    ]
)
"""One row per label of the held-out catalog that is no class, since no training image has it, or
too few do; `images`: usable images of that catalog that have it,
those included that are rejected for too few known labels. The most frequent first."""

INDEX_SHARD_DIGEST = b"sha256"
"""Metadata of an index: digest of its shard, which the manifest has as well."""


class SplitName(StrEnum):
    """The two sides of a dataset; also the names of their directories."""

    TRAIN = "train"
    HELDOUT = "heldout"


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One record.

    Attributes:
        image_id: Path of the image in its catalog; unique on its side of a dataset.
        encoded: JPEG bytes, three channels or grey.
        height: Pixels.
        width: Pixels.
        label_ids: Rows of `labels.parquet`, ascending, without repeats.
        confidences: In (0, 1], parallel to `label_ids`; stored as float32.
        negative_ids: Classes whose absence was verified, ascending; every other class that is not
            in `label_ids` is unknown.
    """

    image_id: str
    encoded: bytes
    height: int
    width: int
    label_ids: tuple[int, ...]
    confidences: tuple[float, ...]
    negative_ids: tuple[int, ...] = ()


def encode_example(image: LabelledImage) -> bytes:
    """Serialises a record; equal images give equal bytes (map entries are sorted).

    Raises:
        ValueError: `label_ids` and `confidences` differ in length.
    """
    if len(image.label_ids) != len(image.confidences):
        raise ValueError(
            f"{image.image_id}: expected one confidence per label, received "
            f"{len(image.label_ids)} label ids and {len(image.confidences)} confidences"
        )
    example = _EXAMPLE()
    feature = example.features.feature
    feature[IMAGE_ENCODED].bytes_list.value.append(image.encoded)
    feature[IMAGE_ID].bytes_list.value.append(image.image_id.encode())
    feature[IMAGE_HEIGHT].int64_list.value.append(image.height)
    feature[IMAGE_WIDTH].int64_list.value.append(image.width)
    feature[LABEL_IDS].int64_list.value.extend(image.label_ids)
    feature[LABEL_CONFIDENCES].float_list.value.extend(image.confidences)
    if image.negative_ids:
        feature[LABEL_NEGATIVE_IDS].int64_list.value.extend(image.negative_ids)
    return cast(bytes, example.SerializeToString(deterministic=True))


def decode_example(data: bytes) -> LabelledImage:
    """Reads a record written by `encode_example` or by TensorFlow with the same features.

    Raises:
        DatasetError: not an Example, or a feature is missing or of another kind.
    """
    example = _EXAMPLE()
    try:
        example.ParseFromString(data)
    except message.DecodeError as error:
        raise DatasetError(f"expected a serialised tf.train.Example: {reason_of(error)}") from error
    feature = example.features.feature
    return LabelledImage(
        image_id=_text(feature, IMAGE_ID),
        encoded=_single(feature, IMAGE_ENCODED, "bytes_list"),
        height=_single(feature, IMAGE_HEIGHT, "int64_list"),
        width=_single(feature, IMAGE_WIDTH, "int64_list"),
        label_ids=tuple(feature[LABEL_IDS].int64_list.value),
        confidences=tuple(feature[LABEL_CONFIDENCES].float_list.value),
        negative_ids=tuple(feature[LABEL_NEGATIVE_IDS].int64_list.value),
    )


def _text(feature: Any, name: str) -> str:
    data: bytes = _single(feature, name, "bytes_list")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DatasetError(f"feature {name!r}: expected UTF-8, received {data[:40]!r}") from error


def _single(feature: Any, name: str, kind: str) -> Any:
    values = getattr(feature[name], kind).value
    if len(values) != 1:
        raise DatasetError(
            f"feature {name!r}: expected one value in {kind}, received {len(values)}"
        )
    return values[0]


def _declare_example() -> Any:
    """The message class of `tf.train.Example`, from example.proto and feature.proto."""
    Field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="manylabel/example.proto", package="manylabel", syntax="proto3"
    )

    def field(parent: Any, name: str, number: int, type_: Any, repeated: bool = False) -> Any:
        label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
        new = parent.field.add(name=name, number=number, label=label)
        if isinstance(type_, str):
            new.type, new.type_name = Field.TYPE_MESSAGE, f".manylabel.{type_}"
        else:
            new.type = type_
        return new

    lists = {"bytes": Field.TYPE_BYTES, "float": Field.TYPE_FLOAT, "int64": Field.TYPE_INT64}
    feature = descriptor_pb2.DescriptorProto(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (kind, scalar) in enumerate(lists.items(), start=1):
        type_name = f"{kind.capitalize()}List"
        field(file.message_type.add(name=type_name), "value", 1, scalar, repeated=True)
        field(feature, f"{kind}_list", number, type_name).oneof_index = 0
    file.message_type.append(feature)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    field(entry, "key", 1, Field.TYPE_STRING)
    field(entry, "value", 2, "Feature")
    field(features, "feature", 1, "Features.FeatureEntry", repeated=True)
    field(file.message_type.add(name="Example"), "features", 1, "Features")

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("manylabel.Example"))


_EXAMPLE = _declare_example()
