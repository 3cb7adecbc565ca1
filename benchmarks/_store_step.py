"""Storing pictures: by us in one process, by the plainest loop with OpenCV, and how well.

    python benchmarks/_store_step.py LIST RESAMPLING

prints CPU milliseconds of checking a file of those that LIST names, and of storing it.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from upath import UPath

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from manylabel.preprocessing.executors.worker_process import KEPT_MEMORY
from manylabel.preprocessing.pictures.checking import check_image
from manylabel.preprocessing.pictures.fetch import fetch, file_digest
from manylabel.preprocessing.pictures.images import store
from manylabel.storage.image_policy import ImageConfig, Resampling
from manylabel.storage.schema import LabelledImage, encode_example
from manylabel.storage.tfrecord import frame

COMPARED = 24  # pictures, for the quality

Pixels = NDArray[np.float64]


class Spent(NamedTuple):
    """CPU milliseconds of a picture."""

    checking: float
    storing: float


def ours(files: Path, resampling: Resampling) -> Spent:
    """In a process whose environment is that of the executor's workers."""
    command = [sys.executable, __file__, str(files), resampling]
    environment = {**KEPT_MEMORY, **os.environ}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return Spent(*json.loads(done.stdout))


def plain(python: str, files: Path, policy: ImageConfig) -> tuple[float, list[bytes]]:
    """CPU milliseconds of a picture, and what was stored; with the same allocator's settings."""
    output = files.with_name("plain.bin")
    script = str(Path(__file__).with_name("_plain_opencv.py"))
    numbers = [str(policy.short_side_limit), str(policy.jpeg_quality)]
    command = [python, script, str(files), str(output), *numbers]
    environment = {**KEPT_MEMORY, **os.environ}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    _, cpu, lengths = json.loads(done.stdout)
    stored = io.BytesIO(output.read_bytes())
    return 1000 * cpu / len(lengths), [stored.read(length) for length in lengths[:COMPARED]]


def quality(files: Sequence[Path], stored: Sequence[bytes], policy: ImageConfig) -> float:
    """Mean PSNR in dB of stored JPEGs against Lanczos in 64-bit floats of the whole pictures."""
    found = []
    for path, data in zip(files, stored, strict=True):
        pixels, expected = _pixels(data), _reference(path, policy.short_side_limit)
        height, width = (
            min(sides) for sides in zip(pixels.shape[:2], expected.shape[:2], strict=True)
        )
        error = pixels[:height, :width] - expected[:height, :width]
        found.append(10 * np.log10(255**2 / np.mean(error**2)))
    return float(np.mean(found))


@cache
def _reference(path: Path, short_side: int) -> Pixels:
    pixels = _pixels(path.read_bytes())
    height, width = pixels.shape[:2]
    scale = short_side / min(height, width)
    down = _lanczos(height, round(height * scale))
    across = _lanczos(width, round(width * scale))
    return np.clip(np.einsum("yh,hwc,xw->yxc", down, pixels, across, optimize=True), 0, 255)


def _lanczos(old: int, new: int) -> Pixels:
    """[new, old]: rows of weights."""
    scale = old / new
    middles = (np.arange(new)[:, np.newaxis] + 0.5) * scale
    x = (np.arange(old) + 0.5 - middles) / scale
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return weights / weights.sum(axis=1, keepdims=True)


def _pixels(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64)


def _milliseconds(work: Callable[[str], object], names: Sequence[str]) -> float:
    cpu = sum(os.times()[:2])
    for name in names:
        work(name)
    return 1000 * (sum(os.times()[:2]) - cpu) / len(names)


def main(files: Path, resampling: Resampling) -> None:
    """Checks all, then stores all, as phases one and two do."""
    policy = ImageConfig(resampling=resampling)
    root = UPath("/")
    names = [name.removeprefix("/") for name in files.read_text().splitlines()]

    def write(name: str) -> None:
        data = fetch(root, name, policy.max_bytes)
        file_digest(data)
        stored = store(data, policy)
        image = LabelledImage(
            image_id=name,
            encoded=stored.encoded,
            height=stored.height,
            width=stored.width,
            label_ids=(0, 1, 2),
            confidences=(1.0, 1.0, 1.0),
            negative_ids=(),
        )
        output.write(frame(encode_example(image)))

    with files.with_name("ours.bin").open("wb") as output:
        write(names[0])  # The compiled loops are read, once in a process.
        checking = _milliseconds(lambda name: check_image(name, root, policy), names)
        storing = _milliseconds(write, names)
    print(json.dumps([checking, storing]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Resampling(sys.argv[2]))
