"""Makes the pictures of the dashboard in docs/images/dashboard/ from what `make demo` left.

    python -m docs.screenshots [demo-output]

Beside the demo's run stands an ensemble of its last two checkpoints, scored as any model's
predictions are; the second checkpoint is promoted, and both are reviewed against it. The demo's
folder is only read.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks._dashboard import browsing, serving
from manylabel.eval.review.store import (
    find_review,
    read_review_images,
    read_review_labels,
)
from manylabel.eval.store.evaluations import (
    predictions_path,
    read_classes,
    read_images,
    read_summary,
    steps_with_predictions,
)
from manylabel.eval.store.history import histories
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.predictions import (
    PredictionBatch,
    read_origin,
    read_predictions,
    write_predictions,
)
from manylabel.trainer.runs.directory import DESCRIPTION, open_run

IMAGES = Path(__file__).parent / "images" / "dashboard"
RUN, ENSEMBLE = "first", "ensemble"
COLOURS = 255
MOST_BYTES = 250_000
WIDE, PHONE = (1200, 800), (390, 800)
SCALE = 1.5  # device pixels to a pixel: sharp where a README shows pictures 800 pixels wide
SCHEDULES = """\
schedules:
  nightly: {when: "0 2 * * *", timezone: Europe/Paris}
  every: {when: new_checkpoint}
"""
COMMON, SEVERAL = 100, 4  # held-out images of a label, labels of an image
PERSON = "ada"  # who promotes, rather than whoever makes the pictures


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        name: Of the file.
        path: Address on the dashboard, or of a file.
        size: Of the window, in pixels.
        scheme: "light" or "dark".
        tallest: Pixels; what is below is cut off.
    """

    name: str
    path: str
    size: tuple[int, int] = WIDE
    scheme: str = "light"
    tallest: int = 1_600


def shots(newest: EvaluationName, label: int, image: int) -> list[Shot]:
    """What is taken: each page, and what it looks like at night and on a telephone."""
    a = f"a={newest}"
    review = f"/review?{a}"
    return [
        Shot("runs", "/"),
        Shot("run", f"/runs/{newest.run}"),
        Shot("review", review),
        Shot("label", f"/labels/{label}?{a}", tallest=1_232),
        Shot("image", f"/images/{image}?{a}"),
        Shot("review-dark", review, scheme="dark", tallest=800),
        Shot("runs-phone", "/", PHONE),
        Shot("review-phone", review, PHONE),
    ]


def take(browser: Browser, url: str, shot: Shot) -> None:
    """Writes one picture."""
    width, height = shot.size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if shot.scheme == "dark" else "light",
        device_scale_factor=SCALE,
    )
    page = context.new_page()
    page.goto(url + shot.path, wait_until="networkidle")
    _show_pictures(page)
    tall = min(page.evaluate("document.documentElement.scrollHeight"), shot.tallest)
    path = IMAGES / f"{shot.name}.png"
    page.screenshot(
        path=path, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": tall}
    )
    context.close()
    _shrink(path)


def _show_pictures(page: Page) -> None:
    """Those that browsers fetch when they come into sight."""
    for picture in page.locator("img").all():
        picture.scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")
    page.evaluate("scrollTo(0, 0)")


def _shrink(path: Path) -> None:
    """To a palette: flat colours lose nothing, and files are a quarter as large."""
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(
            COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
    small.save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.name:<20} {small.width} x {small.height}  {size / 1e3:.0f} kB", flush=True)
    if size > MOST_BYTES:
        raise SystemExit(
            f"{path}: expected at most {MOST_BYTES} bytes, received {size}; lower `tallest`"
        )


class Demo:
    """A copy of the demo's results, with more to look at.

    Attributes:
        folder: Holds `runs` and `dataset`; commands run in it, so that pages show no path above it.
        champion: Promoted here.
        newest: The demo's last checkpoint.
    """

    def __init__(self, output: Path, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "runs"
        shutil.copytree(output / "run", self.root / RUN)
        (folder / "dataset").symlink_to(output / "dataset")
        description = open_run(self.root / RUN)
        description.model_copy(update={"dataset": "dataset"}).write(self.root / RUN / DESCRIPTION)
        steps = steps_with_predictions(self.root / RUN)
        self.champion, self.newest = (EvaluationName(RUN, steps[at]) for at in (2, -1))
        self.settings = histories(self.root / RUN)[0]

    def examples(self) -> tuple[int, int]:
        """A label that gained but is not everywhere, an image with several labels that changed."""
        review = find_review(self.root, self.newest, self.champion)
        assert review is not None
        labels, changed = read_review_labels(review), read_review_images(review)
        gain = labels.column("class_contribution").to_numpy().copy()
        gain[labels.column("heldout_count").to_numpy() > COMMON] = 0
        counts = read_images(self.root / RUN, self.newest.step, self.settings).column("labels")
        rows = changed.column("image_row").to_pylist()
        several = [row for row in rows if counts[row].as_py() >= SEVERAL]
        return int(gain.argmax()), several[0]

    def prepare(self) -> None:
        """Promotions, reviews, an ensemble, a schedule."""
        run, newest = f"runs/{RUN}", self.newest.step
        first = steps_with_predictions(self.root / RUN)[1]
        self.manylabel(
            "promote", run, "--step", str(first), "--reason", "The first that has learnt"
        )
        reason = "Better in every band"
        self.manylabel("promote", run, "--step", str(self.champion.step), "--reason", reason)
        ensemble = self._write_ensemble().name
        seen = read_summary(self.root / RUN, newest, self.settings).provenance.samples
        place = "--run", f"runs/{ENSEMBLE}", "--step", str(newest), "--samples", str(seen)
        self.manylabel("score", ensemble, "--dataset", "dataset", *place)
        self.manylabel("review", f"runs/{ENSEMBLE}", str(newest))
        self.manylabel("review", run, str(newest), "--output", "review.html")
        (self.root / "schedules.yaml").write_text(SCHEDULES, encoding="utf-8")
        self.manylabel("schedule", "run-due", "runs")

    def _write_ensemble(self) -> Path:
        """Means of the scores of the last two checkpoints."""
        run = self.root / RUN
        paths = [predictions_path(run, step) for step in steps_with_predictions(run)[-2:]]
        classes = len(read_classes(run, self.newest.step, self.settings))
        both = [next(read_predictions(path, batch_size=1_000_000)) for path in paths]
        scores = np.mean([_dense(batch, classes) for batch in both], axis=0, dtype=np.float32)
        best = np.argsort(-scores, axis=1)[:, : both[0].class_ids.shape[1]].astype(np.int32)
        batch = PredictionBatch(both[0].image_ids, best, np.take_along_axis(scores, best, axis=1))
        origin = read_origin(paths[0])
        assert origin is not None
        path = self.folder / "ensemble.parquet"
        write_predictions(
            path, [batch], origin.model_copy(update={"checkpoint_digest": "ensemble"})
        )
        return path

    def manylabel(self, *arguments: str) -> None:
        """Runs a command."""
        command = [str(Path(sys.executable).with_name("manylabel")), *arguments]
        person = {**os.environ, "LOGNAME": PERSON}
        subprocess.run(command, cwd=self.folder, env=person, check=True, stdout=subprocess.DEVNULL)


def _dense(batch: PredictionBatch, classes: int) -> NDArray[np.float32]:
    """Scores of all classes [I, C]: those that are not among the best are as low as the last."""
    scores = np.repeat(batch.scores[:, -1:], classes, axis=1)
    np.put_along_axis(scores, batch.class_ids, batch.scores, axis=1)
    return scores


def main() -> None:
    """Takes all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", type=Path, default=Path("demo-output"))
    output = parser.parse_args().output.resolve()
    if not (output / "run" / "run.json").is_file():
        raise SystemExit(f"{output}: expected what a demo leaves; run `make demo`")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        demo = Demo(output, Path(temporary))
        demo.prepare()
        label, image = demo.examples()
        with serving(Path("runs"), folder=demo.folder) as served, browsing() as browser:
            for shot in shots(demo.newest, label, image):
                take(browser, served.url, shot)
            take(browser, demo.folder.as_uri(), Shot("report", "/review.html"))


if __name__ == "__main__":
    main()
