"""The plainest loop that stores pictures with OpenCV; runs where OpenCV is, with nothing of ours.

    python _plain_opencv.py LIST OUTPUT SHORT_SIDE QUALITY

Reads the files that LIST names, a line each, reduces them by INTER_AREA, encodes them and writes
them one after the other into OUTPUT. Prints wall seconds, CPU seconds and the bytes of each.
"""

import json
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np


def main(names: list[str], output: Path, short_side: int, quality: int) -> None:
    """One thread."""
    cv2.setNumThreads(1)
    lengths = []
    cpu, began = sum(os.times()[:2]), time.monotonic()
    with output.open("wb") as file:
        for name in names:
            data = np.frombuffer(Path(name).read_bytes(), np.uint8)
            pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
            height, width = pixels.shape[:2]
            scale = short_side / min(height, width)
            if scale < 1:
                size = (round(width * scale), round(height * scale))
                pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
            file.write(encoded.tobytes())
            lengths.append(len(encoded))
    seconds, cpu = time.monotonic() - began, sum(os.times()[:2]) - cpu
    print(json.dumps([seconds, cpu, lengths]))


if __name__ == "__main__":
    main(
        Path(sys.argv[1]).read_text().splitlines(),
        Path(sys.argv[2]),
        int(sys.argv[3]),
        int(sys.argv[4]),
    )
