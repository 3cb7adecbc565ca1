"""The dashboard in Chromium, on a small real demo and a few runs planted beside it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

from benchmarks._dashboard import INSTALL_CHROMIUM, Served, browsing, chromium, serving
from manylabel.eval.store.predictions import (
    PredictionBatch,
    PredictionOrigin,
    ScoreKind,
    write_predictions,
)
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName

LOOKS = Path(__file__).with_name("looks.js")
PLANTED_STEP = 100
PATIENCE = 10_000  # milliseconds


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    absent = pytest.mark.skip(reason=f"no chromium on the PATH: {INSTALL_CHROMIUM}")
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if chromium() is None:
                item.add_marker(absent)


@dataclass(frozen=True)
class DemoStore:
    """A folder of runs.

    Attributes:
        root: The demo's output: its run, its champion, its review.
        newest: RUN@STEP of the demo's last checkpoint.
        champion: Of an earlier one.
        better: Of predictions that are right where the champion's are not.
        copied: Of the champion's own evaluation under another name.
        label: Class id of the label that most held-out images have.
    """

    root: Path
    newest: str
    champion: str
    better: str
    copied: str
    label: int


@pytest.fixture(scope="session")
def store(
    small_demo, manylabel: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> DemoStore:
    """The small demo, a run that is better and one that is no other, both reviewed."""
    root = tmp_path_factory.mktemp("browser") / "runs"
    shutil.copytree(small_demo.output, root, ignore=shutil.ignore_patterns("dataset"))
    dataset = Dataset.open(small_demo.output / "dataset")
    steps = sorted(int(path.name) for path in (root / "run" / "evals").iterdir())
    champion = steps[1]  # The demo makes the first one after the untrained network its champion.
    predictions = root.parent / "better.parquet"
    write_right_predictions(dataset, predictions)
    run = ["--run", str(root / "better"), "--step", str(PLANTED_STEP)]
    manylabel("score", str(predictions), "--dataset", str(dataset.root), *run)
    shutil.copytree(root / "run", root / "copied")
    manylabel("review", str(root / "better"), str(PLANTED_STEP))
    manylabel("review", str(root / "copied"), str(champion))
    return DemoStore(
        root,
        newest=f"run@{steps[-1]}",
        champion=f"run@{champion}",
        better=f"better@{PLANTED_STEP}",
        copied=f"copied@{champion}",
        label=int(np.argmax(dataset.labels().column("heldout_count").to_numpy())),
    )


def write_right_predictions(dataset: Dataset, path: Path) -> None:
    """Predictions that rank every label of an image before what is none."""
    random = np.random.default_rng(0)
    images = list(dataset.iterate(SplitName.HELDOUT))
    scores = random.standard_normal((len(images), dataset.num_classes)).astype(np.float32)
    for row, image in enumerate(images):
        scores[row, list(image.label_ids)] += 10
    class_ids = np.argsort(-scores, axis=1).astype(np.int32)
    batch = PredictionBatch(
        [image.image_id for image in images],
        class_ids,
        np.take_along_axis(scores, class_ids, axis=1),
    )
    origin = PredictionOrigin(
        dataset_digest=dataset.content_digest,
        checkpoint_digest="better",
        score_kind=ScoreKind.LOGIT,
        k=dataset.num_classes,
    )
    write_predictions(path, [batch], origin)


@pytest.fixture(
    scope="module"
)  # Other tests ask which processes listen: none of these may be left.
def served(store: DemoStore) -> Iterator[Served]:
    """The command `manylabel dashboard` on the store."""
    with serving(store.root) as dashboard:
        yield dashboard


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a file."""
    with browsing() as opened:
        yield opened


@dataclass
class Visit:
    """A page that is looked at, and what went wrong with it so far.

    Attributes:
        faults: Errors in the console, scripts that failed, requests that failed or went elsewhere,
            breaches of the content security policy.
    """

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)

    def open(self, path: str) -> Response:
        """Goes to an address of the dashboard and waits until nothing is fetched any more."""
        answer = self.page.goto(self.url + path, wait_until="networkidle")
        assert answer is not None
        return answer

    def looks(self, what: str) -> list[str]:
        """What looks.js finds."""
        self.page.evaluate(LOOKS.read_text("utf-8"))
        found: list[str] = self.page.evaluate(f"window.looks.{what}()")
        return found

    def address(self) -> str:
        """Where it is now, without the server."""
        return self.page.url.removeprefix(self.url)

    def _listen(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("requestfailed", self._note_failure)
        self.page.on("response", self._on_response)
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) => console.error("
            "`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`))"
        )

    def _note_failure(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # A picture that was under way when we went on.
            self.faults.append(f"failed: {request.url}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.faults.append(f"elsewhere: {request.url}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.faults.append(f"{response.status}: {response.url}")


@pytest.fixture
def visiting(browser: Browser, served: Served) -> Iterator[Callable[..., Visit]]:
    """visiting(width=1200, scheme="light"): a browser that has nothing of the dashboard yet.

    Without `allowed` faults, a test fails that leaves one behind.
    """
    with _visitors(browser, served.url) as visit:
        yield visit


@contextmanager
def _visitors(browser: Browser, url: str) -> Iterator[Callable[..., Visit]]:
    visits: list[Visit] = []

    def visit(width: int = 1200, scheme: Any = "light") -> Visit:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        made = Visit(context.new_page(), url)
        made._listen()
        visits.append(made)
        return made

    yield visit
    for each in visits:
        each.page.context.close()
    assert [fault for each in visits for fault in each.faults] == []
