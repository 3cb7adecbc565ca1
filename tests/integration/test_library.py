"""The script of docs/library.md, as it stands there: without a main guard, in one process."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import DEMO_FOLDERS, DEMO_PICTURES, REPOSITORY
from tests.integration._processes import is_running

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

SETTINGS = {  # In place of the preset, whose network takes minutes.
    "preprocessing": {
        "catalog": {"path": "set below"},
        "images": {"short_side_limit": 48},
        "labels": {"minimum_count": 2},
        "heldout": {"size": 0.4},
        "shards": {"images_per_shard": 16},
        "runner": {"processes": 2},
    },
    "trainer": {
        "model": {"input_size": 32, "width": 0.125, "middle_repeats": 0},
        "input": {"batch_size": 8, "shuffle_block": 4},
        "topology": {"workers": 1, "parameter_shards": 1},
    },
    "eval": {"k": 50},
}

BEFORE = """
import json, logging, os, random, signal, sys, threading, warnings
from pathlib import Path

import ray, manylabel.library  # What an import itself sets is not at issue.

with open("runs.txt", "a") as file:
    file.write("once\\n")
signal.signal(signal.SIGTERM, lambda number, frame: None)
random.seed(3)
children = lambda: [
    int(child)
    for task in Path("/proc/self/task").glob("*/children")
    for child in task.read_text().split()
]


def state():
    ours = lambda name: name.startswith(("KERAS", "RAY", "PYTHON", "TF_CPP", "GRPC", "CUDA"))
    return {
        "variables": {name: os.environ[name] for name in sorted(os.environ) if ours(name)},
        "folder": os.getcwd(),
        "signals": [str(signal.getsignal(number)) for number in range(1, 32)],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "logging": str([logging.root.handlers, logging.root.level, logging.root.filters]),
        "levels": [logging.getLogger(name).level for name in ("ray", "apache_beam", "tensorflow")],
        "warnings": str(warnings.filters),
        "threads": [thread.name for thread in threading.enumerate()],
        "random": hash(random.getstate()),
        "streams": [id(sys.stdout), id(sys.stderr)],
    }


before = state()
"""

# Training again in this process, with settings of training alone; and after it failed.
AFTER = """
import manylabel.library as library

try:
    train(settings, "library-demo/nothing", "library-demo/runs/second")
except library.ManylabelError as error:
    print("error:", error)
alone = settings.trainer.model_copy(update={"epochs": 1})
second = train(alone, "library-demo/dataset", "library-demo/runs/second")
(summary,) = evaluate("library-demo/runs/second")
import keras, ray
print(json.dumps({
    "before": before,
    "after": state(),
    "children": children(),
    "k": [summary.config.k, evaluate(training.run)[0].config.k],
    "step": [training.step, second.step],
    "policy": keras.config.dtype_policy().name,
    "ray": ray.is_initialized(),
}))
"""


@pytest.fixture
def folder(openclipart: Path, tmp_path: Path) -> Path:
    """A clone's folder as far as the script sees it, with few of the pictures."""
    examples = tmp_path / "examples" / "openclipart"
    with (openclipart / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            row for row in csv.DictReader(file) if row["image_path"].split("/")[1] in DEMO_FOLDERS
        ]
    chosen = sorted({row["image_path"] for row in rows})[:: 1 + len(rows) // 400][:DEMO_PICTURES]
    for path in chosen:
        (examples / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(openclipart / path, examples / path)
    with (examples / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if row["image_path"] in chosen)
    (tmp_path / "demo").write_text(yaml.safe_dump(SETTINGS))
    return tmp_path


def test_the_documented_script(folder):
    text = (REPOSITORY / "docs" / "library.md").read_text("utf-8")
    (script, *_) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (folder / "script.py").write_text(BEFORE + script + AFTER)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "runs.txt").read_text() == "once\n"
    *printed, found = done.stdout.splitlines()
    state = json.loads(found)
    for what, before in state["before"].items():
        assert state["after"][what] == before, what
    assert not any(map(is_running, state["children"]))
    assert state["k"] == [100, 50]
    assert state["step"][0] >= 2 * state["step"][1] > 0
    assert (state["policy"], state["ray"]) == ("float32", False)
    assert printed[-1] == (
        "error: library-demo/nothing: no such dataset directory; run `manylabel preprocess`"
    )
    assert any(line.startswith(f"{state['step'][0]} weighted MAP@50 ") for line in printed)
    assert (folder / "library-demo" / "labels.csv").is_file()
    stored = yaml.safe_load((folder / "library-demo/runs/second/config.yaml").read_text("utf-8"))
    assert stored.keys() == {"preprocessing", "trainer"}
