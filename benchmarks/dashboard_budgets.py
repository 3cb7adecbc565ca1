"""Claim: the dashboard keeps its budgets on 10 runs of 200 evaluations with 17,000 labels.

Every page: at most 60 kB of HTML, 2,000 nodes, 400 ms CPU of the browser's main thread from the
address to the last row in place, and 100 ms CPU of the server; all of them together: 300 MB of the
server's memory. One label's history over 200 evaluations: 100 ms CPU.

    python benchmarks/dashboard_budgets.py [--store FOLDER] [--rounds 5]

The store (about 3 GB) is generated in some minutes (benchmarks/_generated_store.py), in a folder
that is removed at the end, or in --store, which is kept and used again. The server is the command
`manylabel dashboard` in a process of its own. All are CPU times, which hold on a busy machine: of
the server by its process's clock, of the browser's main thread by Chromium's ThreadTime.

"server" is of a page's HTML, the median of rounds; "first" the same when it is asked for the first
time and the files are read; "visit" of everything that the browser then asks for as well: scripts,
the rows of tables, pictures. Ends with 1 when a budget does not hold.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser

if __name__ == "__main__":  # Beside the modules that it imports, wherever it is started from.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._dashboard import Served, browsing, serving
from benchmarks._generated_store import FULL, Shape, generate
from manylabel.eval.store.evaluations import read_classes, read_images
from manylabel.eval.store.history import histories, read_label_history

HTML_BYTES, NODES = 60_000, 2_000
MAIN_THREAD, SERVER, LABEL_HISTORY = 0.400, 0.100, 0.100  # CPU seconds
MEMORY = 300_000_000  # bytes
LABELS = 25  # whose histories are read


@dataclass(frozen=True)
class Cost:
    """What one page costs; CPU seconds.

    Attributes:
        html: Bytes.
        nodes: Elements, when all rows that are in sight are there.
        first: Of the server, for the HTML when it is asked for the first time.
        server: Likewise, the median of the next times.
        visit: Of the server, for everything that the browser asks for.
        main_thread: Of the browser.
    """

    html: int
    nodes: int
    first: float
    server: float
    visit: float
    main_thread: float

    def broken(self) -> list[str]:
        """The budgets that it does not keep."""
        budgets = {
            f"HTML of {self.html:,} bytes": self.html > HTML_BYTES,
            f"{self.nodes:,} nodes": self.nodes > NODES,
            f"{self.server * 1e3:.0f} ms of the server": self.server > SERVER,
            f"{self.main_thread * 1e3:.0f} ms of the main thread": self.main_thread > MAIN_THREAD,
        }
        return [text for text, over in budgets.items() if over]


def addresses(root: Path, shape: Shape) -> dict[str, str]:
    """Every page by its name: the label that most images have, the image with most labels."""
    run = root / shape.challenger.run
    challenger = run, shape.challenger.step, histories(run)[0]
    class_id = int(np.argmax(read_classes(*challenger).column("heldout_count").to_numpy()))
    image_row = int(np.argmax(read_images(*challenger).column("labels").to_numpy()))
    pair = f"a={shape.challenger}"
    return {
        "Runs": "/",
        "Run": f"/runs/{shape.challenger.run}",
        "Review": f"/review?{pair}",
        "Label": f"/labels/{class_id}?{pair}",
        "Image": f"/images/{image_row}?{pair}",
    }


def measure_page(served: Served, browser: Browser, path: str, rounds: int) -> Cost:
    """Asks for a page again and again, first alone and then with all that belongs to it."""
    alone = [_timed(served, path) for _ in range(rounds + 1)]
    visits = [_visit(served, browser, path) for _ in range(rounds)]
    return Cost(
        html=len(_fetch(served, path)),
        nodes=visits[-1].nodes,
        first=alone[0],
        server=statistics.median(alone[1:]),
        visit=statistics.median(visit.server for visit in visits),
        main_thread=statistics.median(visit.main_thread for visit in visits),
    )


def _fetch(served: Served, path: str) -> bytes:
    with urllib.request.urlopen(served.url + path, timeout=60) as answer:
        text: bytes = answer.read()
    return text


def _timed(served: Served, path: str) -> float:
    began = served.cpu_seconds()
    _fetch(served, path)
    return served.cpu_seconds() - began


@dataclass(frozen=True)
class _Visit:
    nodes: int
    server: float
    main_thread: float


def _visit(served: Served, browser: Browser, path: str) -> _Visit:
    """A browser that has nothing of the page yet."""
    began = served.cpu_seconds()
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    try:
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Performance.enable")
        # Half a second without a request: the rows are fetched and drawn.
        page.goto(served.url + path, wait_until="networkidle")
        nodes = page.evaluate("document.querySelectorAll('*').length")
        metrics = session.send("Performance.getMetrics")["metrics"]
    finally:
        context.close()
    main_thread = next(each["value"] for each in metrics if each["name"] == "ThreadTime")
    return _Visit(nodes, served.cpu_seconds() - began, main_thread)


def label_history_seconds(root: Path, shape: Shape) -> float:
    """CPU seconds to read one label's history, the slowest of some labels."""
    run = root / shape.challenger.run
    settings = histories(run)[0]
    seconds = []
    for class_id in range(0, shape.labels, shape.labels // LABELS):
        began = time.process_time()
        read_label_history(run, settings, class_id)
        seconds.append(time.process_time() - began)
    return max(seconds)


def measure(root: Path, shape: Shape, rounds: int) -> list[str]:
    """Prints the figures and returns the budgets that are broken."""
    print(f"{'page':<8}{'HTML kB':>9}{'nodes':>8}{'main thread ms':>16}", end="")
    print(f"{'server ms':>11}{'first ms':>10}{'visit ms':>10}")
    broken = []
    with serving(root) as served, browsing() as browser:
        for name, path in addresses(root, shape).items():
            cost = measure_page(served, browser, path, rounds)
            print(
                f"{name:<8}{cost.html / 1e3:>9.1f}{cost.nodes:>8,}{cost.main_thread * 1e3:>16.0f}"
                f"{cost.server * 1e3:>11.0f}{cost.first * 1e3:>10.0f}{cost.visit * 1e3:>10.0f}",
                flush=True,
            )
            broken += [f"{name}: {text}" for text in cost.broken()]
        memory = served.memory()
    print(f"server's memory at the end {memory / 1e6:.0f} MB")
    if memory > MEMORY:
        broken.append(f"{memory / 1e6:.0f} MB of memory")
    history = label_history_seconds(root, shape)
    print(f"one label's history {history * 1e3:.0f} ms")
    if history > LABEL_HISTORY:
        broken.append(f"{history * 1e3:.0f} ms for a label's history")
    return broken


def main() -> int:
    """Ends with 1 when a budget does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, help="folder of the generated store, kept")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        began = time.monotonic()
        root = generate(arguments.store or Path(temporary), FULL, len(os.sched_getaffinity(0)))
        print(f"store of {FULL.runs} runs generated in {time.monotonic() - began:.0f} s")
        broken = measure(root, FULL, arguments.rounds)
    for text in broken:
        print(f"BROKEN  {text}")
    print("claim: every page in its budget:", "does not hold" if broken else "holds")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
