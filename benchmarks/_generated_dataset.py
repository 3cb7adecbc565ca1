"""A dataset of the paper's shape, drawn from a seed: names, long-tailed counts, held-out labels.

The training split is listed in the manifest and not there: nothing that only reads results opens
its shards. Held-out pictures are PICTURES drawings over and over.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from upath import UPath

from manylabel.storage.atomic import replacing
from manylabel.storage.dataset import Dataset
from manylabel.storage.manifest import (
    HELDOUT_IMAGES_NAME,
    LABELS_NAME,
    MANIFEST_NAME,
    REJECTED_NAME,
    ImageCounts,
    Manifest,
    RecordShard,
    SplitShards,
    content_digest,
    table_digest,
)
from manylabel.storage.schema import (
    HELDOUT_IMAGES_SCHEMA,
    INDEX_SCHEMA,
    INDEX_SHARD_DIGEST,
    LABELS_SCHEMA,
    REJECTED_SCHEMA,
    LabelledImage,
    SplitName,
    encode_example,
)
from manylabel.storage.tables import write_table
from manylabel.storage.tfrecord import write_record

MOST_COMMON = 300_000  # training images of the most common label
TAIL = 1.6  # exponent; a third of 17,000 labels then have fewer than 30 training images
PICTURES, SIDE = 64, 160
SHARD_IMAGES = 1_000
NEAR_DUPLICATES = 0.12  # of the images, next to the one that they resemble

_ADJECTIVES = """
aerial amber ancient blue bitter bright broken brown ceramic coastal cotton crimson curly dark
deep distant dry dusty early electric empty evening faded floating foggy folded frozen garden
gentle giant glass golden green grey handmade heavy hollow iron ivory leather light little
lonely long low marble mild misty modern morning mossy narrow nordic old open orange painted
pale paper pink plain purple quiet rainy red river rough round rural rusty sandy school silent
silk silver small smooth snowy soft spotted steep still stone striped sunlit sweet tall thin
tiny tropical urban velvet vintage violet warm white wide wild winter wooden woollen young
"""
_NOUNS = """
anchor apple arch atlas balcony banana barrel basket beach bell bench bicycle blanket boat
bottle bouquet bowl bracelet bread bridge brush bucket butterfly button cabin cake camera candle
canoe canyon carpet castle cat ceiling chair church clock cloud coat compass coral cottage cup
curtain desk dog dolphin door dress drum engine façade falcon feather fence fern field fish flag
flower flute forest fountain fox fruit garden gate giraffe glacier glove goat grass guitar
hammer harbour hat hill horse house iceberg island jacket jar jellyfish kettle key kitchen kite
ladder lamp lantern leaf lighthouse lion lizard map marathon market mask meadow mill mirror moon
mosque motorcycle mountain mug mushroom necklace nest notebook oak olive onion orchard orchid
owl palace parade parrot path peach pear pebble pencil penguin piano pier pillow pine plate pond
poppy puppet quilt rabbit railway ribbon ring rock roof rose rug sail sculpture shell ship shoe
skyline sofa spoon staircase stamp statue stream street suitcase sunset swan table teapot temple
tent theatre tiger tower train tram tree trumpet tulip tunnel turtle umbrella valley vase
viaduct violin wagon wall watch waterfall whale wheel willow window wolf wreath yacht zebra
"""


@dataclass(frozen=True, eq=False)
class Labelling:
    """Which held-out image has which label; C labels, I images, P labels of images.

    Attributes:
        names: C, sorted.
        train_counts: int64 [C].
        class_ids: int32 [P], ascending.
        image_rows: int32 [P], ascending within a label.
        groups: int64 [I], near-duplicate groups.
    """

    names: list[str]
    train_counts: NDArray[np.int64]
    class_ids: NDArray[np.int32]
    image_rows: NDArray[np.int32]
    groups: NDArray[np.int64]

    @property
    def num_images(self) -> int:
        return len(self.groups)

    @cached_property
    def heldout_counts(self) -> NDArray[np.int64]:
        """int64 [C], images that have each label."""
        return np.bincount(self.class_ids, minlength=len(self.names))


def draw_labelling(labels: int, images: int, labels_an_image: float) -> Labelling:
    """Labels by frequency: the counts fall as a power of the rank, and images draw each label."""
    random = np.random.default_rng(labels)
    every = [" ".join(pair) for pair in product(_ADJECTIVES.split(), _NOUNS.split())]
    names = sorted(every[place] for place in random.permutation(len(every))[:labels])
    falling = MOST_COMMON * (1 + np.arange(labels) / 30) ** -TAIL
    train_counts = np.maximum(random.permutation(falling).astype(np.int64), 1)
    share = np.minimum(labels_an_image * train_counts / train_counts.sum(), 0.8)
    # Drawn with repeats, so many times that after taking them out the share is as wanted.
    draws = random.poisson(-images * np.log1p(-share))
    class_ids = np.repeat(np.arange(labels), draws)
    pairs_drawn = np.unique(class_ids * images + random.integers(0, images, len(class_ids)))
    fresh = random.random(images) >= NEAR_DUPLICATES
    fresh[0] = True
    return Labelling(
        names,
        train_counts,
        (pairs_drawn // images).astype(np.int32),
        (pairs_drawn % images).astype(np.int32),
        np.cumsum(fresh) - 1,
    )


def write_dataset(root: UPath, labelling: Labelling) -> Dataset:
    """The dataset; its content digest is that of what is there."""
    ids = [f"photos/{row % 97:02d}/{row:06d}.jpg" for row in range(labelling.num_images)]
    ids.sort()
    shards = tuple(_write_shards(root, ids, labelling))
    counts = labelling.train_counts
    table = pa.table(
        {
            "class_id": np.arange(len(counts)),
            "name": labelling.names,
            "train_count": counts,
            "heldout_count": labelling.heldout_counts,
            "train_share": counts / counts.sum(),
        },
        schema=LABELS_SCHEMA,
    )
    write_table(root / LABELS_NAME, table)
    stems = [UPath(shard.path).stem for shard in shards]
    rows = np.arange(len(ids))
    columns = {
        "image_row": rows,
        "image_id": ids,
        "near_duplicate_group": labelling.groups,
        "shard": [stems[row // SHARD_IMAGES] for row in rows],
        "place": rows % SHARD_IMAGES,
    }
    write_table(root / HELDOUT_IMAGES_NAME, pa.table(columns, schema=HELDOUT_IMAGES_SCHEMA))
    rejected = [
        ("photos/broken.jpg", "undecodable", "cut short"),
        ("photos/x.jpg", "too_small", ""),
    ]
    columns = dict(zip(REJECTED_SCHEMA.names, zip(*rejected, strict=True), strict=True))
    write_table(root / REJECTED_NAME, pa.table(columns, schema=REJECTED_SCHEMA))
    train = RecordShard(
        path="train/train-00000-of-00001.tfrecord",
        index_path="train/train-00000-of-00001.index.parquet",
        records=410_000,
        bytes=0,
        sha256="0" * 64,
    )
    splits = {
        SplitName.TRAIN.value: SplitShards(shards=(train,), records=train.records),
        SplitName.HELDOUT.value: SplitShards(shards=shards, records=len(ids)),
    }
    written = train.records + len(ids)
    Manifest(
        content_digest=content_digest(splits, table_digest(table)),
        labels_digest=table_digest(table),
        fingerprint=hashlib.sha256(b"generated").hexdigest(),
        code_version="0.1.0",
        settings={"catalog": {"path": "generated.csv"}},
        counts=ImageCounts(
            listed=written + len(rejected), written=written, rejected=len(rejected), duplicates=0
        ),
        splits=splits,
        num_classes=len(counts),
    ).write(root / MANIFEST_NAME)
    return Dataset.open(str(root))


def _write_shards(root: UPath, ids: list[str], labelling: Labelling) -> Iterator[RecordShard]:
    order = np.lexsort((labelling.class_ids, labelling.image_rows))
    splits = np.searchsorted(labelling.image_rows[order], np.arange(len(ids) + 1))
    label_ids = labelling.class_ids[order].tolist()
    pictures = [_picture(number) for number in range(min(PICTURES, len(ids)))]
    total = -(-len(ids) // SHARD_IMAGES)
    for number in range(total):
        stem = f"heldout/heldout-{number:05d}-of-{total:05d}"
        rows, data = [], io.BytesIO()
        for row in range(number * SHARD_IMAGES, min((number + 1) * SHARD_IMAGES, len(ids))):
            own = tuple(label_ids[splits[row] : splits[row + 1]])
            encoded = pictures[labelling.groups[row] % len(pictures)]
            image = LabelledImage(ids[row], encoded, SIDE, SIDE, own, (1.0,) * len(own))
            payload, offset = encode_example(image), data.tell()
            rows.append(("heldout", UPath(stem).name, offset, len(payload), ids[row], list(own)))
            write_record(data, payload)
        with replacing(root / f"{stem}.tfrecord") as file:
            file.write(data.getvalue())
        digest = hashlib.sha256(data.getvalue()).hexdigest()
        index = pa.Table.from_pylist(
            [dict(zip(INDEX_SCHEMA.names, row, strict=True)) for row in rows],
            schema=INDEX_SCHEMA.with_metadata({INDEX_SHARD_DIGEST: digest}),
        )
        write_table(root / f"{stem}.index.parquet", index)
        yield RecordShard(
            path=f"{stem}.tfrecord",
            index_path=f"{stem}.index.parquet",
            records=len(rows),
            bytes=len(data.getvalue()),
            sha256=digest,
        )


def _picture(number: int) -> bytes:
    """A disc over a horizon, JPEG; another for each number."""
    random = np.random.default_rng(number)
    height, width = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    sky, ground, disc = random.integers(40, 240, (3, 3))
    horizon, x, y, radius = random.uniform((0.4, 0.2, 0.2, 0.08), (0.8, 0.8, 0.6, 0.25))
    pixels = sky * (0.6 + 0.4 * height[..., np.newaxis])
    pixels[height > horizon + 0.04 * np.sin(9 * width + number)] = ground
    pixels[np.hypot(height - y, width - x) < radius] = disc
    data = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(data, "JPEG", quality=85)
    return data.getvalue()
