"""The input pipeline: leased positions of the record stream in, batches of images out."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import (
    IMAGE_ENCODED,
    LABEL_CONFIDENCES,
    LABEL_IDS,
    LABEL_NEGATIVE_IDS,
    SplitName,
)
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.records.augment import evaluation_image, training_image
from manylabel.trainer.records.config import InputConfig
from manylabel.trainer.records.order import RecordOrder
from manylabel.trainer.records.reader import BadRecordReport, RecordReader

# Without AutoGraph, which leaves a file in TMPDIR for each function where a process is killed.
as_written = tf.autograph.experimental.do_not_convert


class SparseLabels(NamedTuple):
    """What is known of a batch's images as N triples, in any order.

    A confidence of 0 is a verified absence. What has no triple is unknown. A triple that occurs
    twice counts twice.
    """

    row_ids: tf.Tensor
    """int64 [N], the image's row in the batch."""
    class_ids: tf.Tensor
    """int64 [N], in [0, C)."""
    confidences: tf.Tensor
    """float32 [N], in [0, 1]."""


TrainingBatch = tuple[tf.Tensor, SparseLabels, NDArray[np.int64]]

# Records handed to TensorFlow at a time; one by one, the hand-over would cost more than reading.
_CHUNK = 32

# Records without one that can be decoded among them, after which something else must be wrong.
_MOST_MISSING = 1000

_FEATURES = {
    IMAGE_ENCODED: tf.io.FixedLenFeature([], tf.string),
    LABEL_IDS: tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
    LABEL_CONFIDENCES: tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True),
    LABEL_NEGATIVE_IDS: tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
}


def training_batches(
    ranges: Iterable[tuple[int, int]],
    order: RecordOrder,
    dataset: Dataset,
    config: InputConfig,
    image_size: int,
    on_bad_record: Callable[[BadRecordReport], None],
) -> Generator[TrainingBatch, None, None]:
    """Yields images float32 [B, S, S, 3] in [-1, 1], their labels, their positions int64 [B].

    B is config.batch_size, less in the last batch; S is image_size. A batch may span ranges.

    Args:
        ranges: half-open ranges of the stream's positions. Drawn one at a time as records are
            needed, in a thread of the pipeline; it may block, and ends the batches when it ends.
        order: over the training split's shards, in the manifest's order.
        on_bad_record: told of each record that cannot be read or decoded, in the caller's thread.
            Every position comes out once, in a batch or here, in the order of `ranges`.

    Raises:
        Whatever `ranges`, `on_bad_record` or reading the dataset's files raises.
    """
    in_flight = config.batch_size * (config.prefetch + 2) + config.decode_threads + 2 * _CHUNK
    feed = _RecordFeed(ranges, order, dataset, in_flight + _MOST_MISSING)

    @as_written
    def decode(serialized: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, ...]:
        encoded, class_ids, confidences = _parse(serialized, dataset.num_classes)
        key = tf.stack([tf.constant(config.seed, tf.int64), position])
        image = training_image(encoded, image_size, key, config.framing, config.augmentation)
        return image, class_ids, confidences, position

    batches = (
        tf.data.Dataset.from_generator(feed.chunks, output_signature=feed.SIGNATURE)
        .unbatch()
        .map(decode, num_parallel_calls=config.decode_threads, deterministic=True)
        # Only `decode` can fail here, since the feed keeps its own errors; what it failed on is
        # missed, and reported, when later records come out.
        .ignore_errors()
        .padded_batch(
            config.batch_size, padding_values=(None, tf.constant(-1, tf.int64), None, None)
        )
        .map(as_written(_sparse))
        .prefetch(config.prefetch)
        .with_options(_options(config))
    )
    for images, labels, positions in batches:
        positions = positions.numpy()
        for report in feed.missing_before(positions):
            on_bad_record(report)
        yield images, labels, positions
    for report in feed.missing_at_end():
        on_bad_record(report)


def evaluation_batches(
    dataset: Dataset, split: SplitName, config: InputConfig, image_size: int, batch_size: int
) -> Iterator[tuple[tf.Tensor, list[str]]]:
    """Yields images float32 [B, S, S, 3] in [-1, 1] and their ids: each record once, in order.

    Raises:
        TrainingError: an image cannot be decoded.
        CorruptRecordError: a record does not match its checksum.
    """
    failures: list[Exception] = []

    def records() -> Iterator[tuple[bytes, str]]:
        try:
            for image in dataset.iterate(split):
                yield image.encoded, image.image_id
        except Exception as error:
            failures.append(error)

    @as_written
    def decode(encoded: tf.Tensor, image_id: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return evaluation_image(encoded, image_size, config.framing), image_id

    signature = (tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.string))
    batches = (
        tf.data.Dataset.from_generator(records, output_signature=signature)
        .map(decode, num_parallel_calls=config.decode_threads, deterministic=True)
        .batch(batch_size)
        .prefetch(config.prefetch)
        .with_options(_options(config))
    )
    try:
        for images, image_ids in batches:
            yield images, [image_id.decode() for image_id in image_ids.numpy()]
    except tf.errors.InvalidArgumentError as error:
        raise TrainingError(
            f"{dataset.root}: an image of the {split} split cannot be decoded: {error.message}"
        ) from error
    if failures:
        raise failures[0]


class _RecordFeed:
    """Reads records for the pipeline's thread and keeps account of those it has not given back.

    An exception that reaches TensorFlow would come out as one of its own kinds, or be ignored with
    the decoder's. It is kept instead, ends the records, and is raised for the caller at the end.
    """

    SIGNATURE = (tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int64))

    def __init__(
        self,
        ranges: Iterable[tuple[int, int]],
        order: RecordOrder,
        dataset: Dataset,
        most_unanswered: int,
    ) -> None:
        self._ranges = ranges
        self._order = order
        self._dataset = dataset
        self._most_unanswered = most_unanswered
        # One entry for each record read, saying what to report if it does not come out. A deque,
        # because the pipeline's thread appends while the caller's takes from the other end.
        self._read: deque[BadRecordReport] = deque()
        self._failure: Exception | None = None

    def chunks(self) -> Iterator[tuple[list[bytes], list[int]]]:
        """Serialised examples and their positions, a few at a time."""
        try:
            with RecordReader(self._dataset, SplitName.TRAIN) as reader:
                for start, stop in self._ranges:
                    for first in range(start, stop, _CHUNK):
                        yield self._chunk(reader, first, min(first + _CHUNK, stop))
                        self._check_progress()
        except Exception as error:
            self._failure = error

    def missing_before(self, positions: NDArray[np.int64]) -> Iterator[BadRecordReport]:
        """Records that should have come out before the last of `positions`, and did not."""
        for position in positions:
            while (record := self._read.popleft()).position != position:
                yield record

    def missing_at_end(self) -> Iterator[BadRecordReport]:
        """Records that never came out; raises what ended the reading, if anything did."""
        while self._read:
            yield self._read.popleft()
        if self._failure is not None:
            raise self._failure

    def _check_progress(self) -> None:
        """Ends a stream of nothing but bad records, which would be read to its end in silence."""
        if len(self._read) > self._most_unanswered:
            record = self._read[-1]
            raise TrainingError(
                f"none of {_MOST_MISSING} records in a row could be decoded, the last at byte "
                f"{record.offset} of {record.path}: {record.detail}"
            )

    def _chunk(self, reader: RecordReader, start: int, stop: int) -> tuple[list[bytes], list[int]]:
        _, shards, records = self._order.locate(start, stop)
        payloads, positions = [], []
        for position, shard, number in zip(range(start, stop), shards, records, strict=True):
            record = reader.read(int(shard), int(number))
            detail = record.detail or "not an Example with a JPEG image and valid labels"
            self._read.append(BadRecordReport(position, record.path, record.offset, detail))
            if record.payload is not None:
                payloads.append(record.payload)
                positions.append(position)
        return payloads, positions


def _parse(serialized: tf.Tensor, classes: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A record's JPEG, class ids and confidences, which are 0 for verified absences.

    Fails on classes that the model has no output for.
    """
    features = tf.io.parse_single_example(serialized, _FEATURES)
    present, absent = features[LABEL_IDS], features[LABEL_NEGATIVE_IDS]
    confidences = features[LABEL_CONFIDENCES]
    tf.debugging.assert_equal(tf.size(present), tf.size(confidences))
    class_ids = tf.concat([present, absent], 0)
    tf.debugging.Assert(tf.reduce_all((class_ids >= 0) & (class_ids < classes)), [class_ids])
    confidences = tf.concat([confidences, tf.zeros_like(absent, tf.float32)], 0)
    return features[IMAGE_ENCODED], class_ids, confidences


def _sparse(
    images: tf.Tensor, class_ids: tf.Tensor, confidences: tf.Tensor, positions: tf.Tensor
) -> tuple[tf.Tensor, SparseLabels, tf.Tensor]:
    """Drops the padding (class -1) of class_ids and confidences, [B, most of an image]."""
    places = tf.where(class_ids >= 0)
    labels = SparseLabels(
        places[:, 0], tf.gather_nd(class_ids, places), tf.gather_nd(confidences, places)
    )
    return images, labels, positions


def _options(config: InputConfig) -> Any:
    """Threads of its own: several workers on a machine must not each take all cores."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = config.decode_threads
    options.autotune.enabled = False
    return options
