"""Image files as people have them, what preprocessing stores for them, and a run on those."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from manylabel.deploy.batch import network_inputs
from manylabel.deploy.export import export
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.pictures.images import store
from manylabel.preprocessing.rejections import ImageRejectedError
from manylabel.storage.dataset import Dataset
from manylabel.storage.image_policy import ImageConfig
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.networks.build import build_model, decayed_variables
from manylabel.trainer.plane.layout import ParameterLayout
from manylabel.trainer.plane.optimizers import DecayBlocks
from manylabel.trainer.plane.shard import ParameterShard, ShardState
from manylabel.trainer.program.in_process import LocalShards
from manylabel.trainer.program.plan import stream_identity
from manylabel.trainer.records.augment import evaluation_image
from manylabel.trainer.records.config import FramingConfig
from manylabel.trainer.records.ledger import RecordLedger
from manylabel.trainer.runs.directory import describe_run
from manylabel.trainer.runs.writer import CheckpointWriter

SMALL = [f"small{number}.jpg" for number in range(14)]


def photo(seed: int, width: int = 80, height: int = 60) -> Image.Image:
    """Smooth patches under fine stripes, which aliasing turns into other colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), np.uint8)
    patches = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    stripes = np.where(np.arange(width) % 4 < 2, 40, -40)[:, np.newaxis]
    pixels = np.asarray(patches, np.int64) + (stripes if width > 200 else 0)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def file_bytes(image: Image.Image, format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def oriented_file(image: Image.Image, orientation: int, byte_order: str = ">") -> bytes:
    """A JPEG with the orientation among other EXIF tags; byte_order: "<" or ">"."""
    exif = Image.Exif()
    exif.endian = byte_order
    exif[0x010F] = "a camera"
    exif[0x0112] = orientation
    exif[0x8769] = {0x9000: b"0232"}
    return file_bytes(image, "JPEG", quality=95, exif=exif)


def translucent(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


@pytest.fixture(scope="session")
def policy() -> ImageConfig:
    return ImageConfig(short_side_limit=64, max_pixels=400_000, max_bytes=400_000)


class Seen(NamedTuple):
    """A file on both ways to the network, in levels of 0 to 255, [48, 48, 3].

    exported: zeros where the exported graph refuses the file. trained: None where preprocessing
    rejects it.
    """

    exported: NDArray[np.float64]
    trained: NDArray[np.float64] | None
    fault: str

    @property
    def difference(self) -> float:
        """Mean over the pixels of the absolute difference."""
        assert self.trained is not None
        return float(np.abs(self.exported - self.trained).mean())


@pytest.fixture(scope="session")
def see(policy: ImageConfig) -> Callable[[list[bytes]], list[Seen]]:
    """see(files): each through preprocessing, and all as one batch through the graph."""
    policy = policy.model_copy(update={"max_bytes": 2_000_000})
    framing = FramingConfig(fit="pad", central_fraction=1.0)
    exported = tf.function(
        lambda images: network_inputs(images, policy, 48, framing),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    evaluated = tf.function(
        lambda encoded: evaluation_image(encoded, 48, framing),
        input_signature=[tf.TensorSpec([], tf.string)],
    )

    def levels(pixels: tf.Tensor) -> NDArray[np.float64]:
        return (pixels.numpy().astype(np.float64) + 1) * 127.5

    def trained(data: bytes) -> NDArray[np.float64] | None:
        try:
            return levels(evaluated(store(data, policy).encoded))
        except (ImageRejectedError, tf.errors.InvalidArgumentError):
            # `store` decodes no plain JPEG; in a job, hashing it has found damage before.
            return None

    def both(files: list[bytes]) -> list[Seen]:
        pixels, faults = exported(tf.constant(files, tf.string))
        return [
            Seen(ours, trained(data), fault.decode())
            for ours, data, fault in zip(levels(pixels), files, faults.numpy(), strict=True)
        ]

    return both


@pytest.fixture(scope="session")
def oriented() -> Callable[[int, str], bytes]:
    """oriented(orientation, byte_order): a JPEG that is to be turned."""
    return lambda orientation, byte_order: oriented_file(photo(99), orientation, byte_order)


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """encode(seed, format, width, height): a photo's file."""
    return lambda seed, format_, *size: file_bytes(photo(seed, *size), format_)


@pytest.fixture(scope="session")
def originals() -> dict[str, bytes]:
    grey = np.asarray(photo(107).convert("L"), np.uint16) * 257
    return {
        **{name: file_bytes(photo(seed), "JPEG") for seed, name in enumerate(SMALL)},
        "large.jpg": file_bytes(photo(100, 640, 480), "JPEG", quality=95),
        "large.png": file_bytes(photo(101, 640, 480), "PNG"),
        "on its side.jpg": oriented_file(photo(102), 6),
        "large on its side.jpg": oriented_file(photo(103, 640, 480), 8),
        "translucent.png": file_bytes(translucent(photo(104)), "PNG"),
        "large translucent.png": file_bytes(translucent(photo(105, 640, 480)), "PNG"),
        "palette.png": file_bytes(photo(106).quantize(16), "PNG", transparency=3),
        "opaque 4 bits.png": file_bytes(photo(111).quantize(16), "PNG", bits=4),
        "16 bits.png": file_bytes(Image.fromarray(grey), "PNG"),
        "grey.jpg": file_bytes(photo(108).convert("L"), "JPEG"),
        "progressive.jpg": file_bytes(photo(109), "JPEG", progressive=True, quality=95),
        "cmyk.jpg": file_bytes(photo(110).convert("CMYK"), "JPEG", quality=95),
    }


@pytest.fixture(scope="session")
def dataset(
    originals: dict[str, bytes], policy: ImageConfig, tmp_path_factory: pytest.TempPathFactory
) -> Dataset:
    """All of them through preprocessing; small JPEGs are stored as they are."""
    root = tmp_path_factory.mktemp("deploy")
    rows = ["image_path,label"]
    for number, (name, data) in enumerate(originals.items()):
        (root / name).write_bytes(data)
        rows += [f"{name},all", f"{name},label {number % 7}"]
    (root / "labels.csv").write_text("\n".join(rows))
    config = PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(root / "labels.csv"), "confidence_column": None},
            "images": policy.model_dump(),
            "heldout": {"size": 8},
        }
    )
    preprocess(config, str(root / "output" / "dataset"))
    return Dataset.open(root / "output" / "dataset")


@pytest.fixture(scope="session")
def stored(dataset: Dataset, originals: dict[str, bytes]) -> dict[str, bytes]:
    """The bytes in the dataset, by file name."""
    found = {
        image.image_id: image.encoded
        for split in ("train", "heldout")
        for image in dataset.iterate(split)
    }
    assert found.keys() == originals.keys()
    return found


@pytest.fixture(scope="session")
def steps() -> tuple[int, int]:
    """Of the run's checkpoints."""
    return 3, 7


@pytest.fixture(scope="session")
def trainer_config() -> TrainerConfig:
    return TrainerConfig.model_validate(
        {
            "model": {"input_size": 48, "width": 0.125, "middle_repeats": 1},
            "input": {"framing": {"fit": "pad", "central_fraction": 0.875}},
        }
    )


@pytest.fixture(scope="session")
def run(
    dataset: Dataset,
    steps: tuple[int, int],
    trainer_config: TrainerConfig,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run with two checkpoints, whose averages are not their weights."""
    run = tmp_path_factory.mktemp("runs") / "run"
    describe_run(run, dataset, trainer_config, {})
    for step in steps:
        _write_checkpoint(run, dataset, trainer_config, step)
    return run


def _write_checkpoint(run: Path, dataset: Dataset, config: TrainerConfig, step: int) -> None:
    keras.utils.set_random_seed(step)
    model = build_model(config.model, dataset.num_classes)
    layout = ParameterLayout.of(model, decayed_variables(model))
    weights, statistics = layout.read(model)
    state = ShardState.initial(weights, statistics, config.optimizer)
    state.average *= 1.5
    state.statistics_average *= 2.0
    momentum = config.model.batch_norm_momentum
    shard = ParameterShard(state, config.optimizer, DecayBlocks(0, [], 0.0), momentum, step)
    stream = stream_identity(dataset, config.input)
    writer = CheckpointWriter(run, layout, stream, LocalShards([shard]), shard_count=1)
    writer.begin(step, 32 * step, RecordLedger(total=0, lease_size=1).state())
    writer.poll(wait=True)


@pytest.fixture(scope="session")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest checkpoint's export, of five labels an image."""
    output = tmp_path_factory.mktemp("exported") / "model"
    assert export(run, output) == output / "1"
    return output
