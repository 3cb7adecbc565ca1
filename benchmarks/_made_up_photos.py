"""JPEG files that cost what photographs of the web cost to read: 500 by 375 pixels, some 90 kB.

Detail falls with its fineness as in photographs (amplitude with the power -1.2 of the frequency;
Field 1987 found about -1), so that decoding meets as many coefficients. What they show is clouds in
front of other clouds, no two alike.
"""

import csv
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONG, SHORT = 500, 375
SHADES = 16
SHADE_SIDE = 1024  # pixels; pictures are cut out of it
FALL = -1.2
CONTRAST = 45  # standard deviation of 256 levels
QUALITY = 90
LABELS = 500
LABELS_A_PICTURE = 3
BATCH = 50

Pixels = NDArray[np.uint8]


def write_photos(folder: Path, pictures: int) -> Path:
    """The catalog of so many pictures, in `folder`; some minutes for 10,000."""
    names = [f"{number % 100:02d}/{number:06d}.jpg" for number in range(pictures)]
    for number in range(min(100, pictures)):
        (folder / f"{number:02d}").mkdir(parents=True, exist_ok=True)
    batches = [names[start : start + BATCH] for start in range(0, pictures, BATCH)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(_write, folder), batches))
    catalog = folder / "labels.csv"
    with catalog.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image_path", "label", "confidence"])
        for number, name in enumerate(names):
            own = {(number * step) % LABELS for step in (1, 7, 11)[:LABELS_A_PICTURE]}
            rows.writerows([name, f"label {label}", 1] for label in own)
    return catalog


def _write(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        picture = Image.fromarray(_picture(int(name[-10:-4])))
        picture.save(folder / name, "JPEG", quality=QUALITY)


def _picture(number: int) -> Pixels:
    random = np.random.default_rng(number)
    height, width = (SHORT, LONG) if random.random() < 0.7 else (LONG, SHORT)
    behind, front = (_cut(random, height, width) for _ in range(2))
    y, x = np.ogrid[0:height, 0:width]
    centre_y, centre_x = random.uniform(0.2, 0.8, 2) * (height, width)
    tall, wide = random.uniform(0.15, 0.5, 2) * (height, width)
    inside = ((y - centre_y) / tall) ** 2 + ((x - centre_x) / wide) ** 2 < 1
    return np.where(inside[..., np.newaxis], front, behind)


def _cut(random: np.random.Generator, height: int, width: int) -> Pixels:
    shade = _shade(int(random.integers(SHADES)))
    top, left = random.integers(0, (SHADE_SIDE - height, SHADE_SIDE - width))
    cut = shade[top : top + height, left : left + width]
    return cut[:, ::-1] if random.random() < 0.5 else cut


@cache
def _shade(number: int) -> Pixels:
    """A square of clouds that differ little in colour."""
    random = np.random.default_rng([SHADES, number])
    fineness = np.hypot(*np.meshgrid(np.fft.fftfreq(SHADE_SIDE), np.fft.rfftfreq(SHADE_SIDE)))
    fall = np.maximum(fineness.T, 1 / SHADE_SIDE) ** FALL
    layers = []
    for _ in range(4):  # one of brightness, one of each colour
        noise = np.fft.irfft2(np.fft.rfft2(random.standard_normal((SHADE_SIDE,) * 2)) * fall)
        layers.append(noise / noise.std())
    mean = random.uniform(90, 165, 3)
    colours = [CONTRAST * (layers[0] + 0.3 * layers[1 + colour]) for colour in range(3)]
    return np.clip(np.stack(colours, axis=-1) + mean, 0, 255).astype(np.uint8)
