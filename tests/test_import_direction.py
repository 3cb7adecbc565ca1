"""Which package may import which, read from the source of every module; and a light start-up."""

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "preprocessing", "trainer", "eval", "deploy")

# What trainer and eval may know of preprocessing: how a dataset on disk is read.
READERS = {"schema", "dataset", "tfrecord"}

# Library -> the folders and files that may import it, at module level or inside a function.
LIBRARIES = {
    "apache_beam": ("preprocessing/",),
    "ray": ("trainer/topology.py", "trainer/cluster.py"),
    "tensorflow": ("trainer/", "deploy/"),
    "keras": ("trainer/", "deploy/"),
}

# They take seconds to import: none may be loaded before a command is chosen.
HEAVY = {"tensorflow", "keras", "apache_beam", "ray", "pyarrow", "numba", "matplotlib", "sklearn"}


def imports(source: str) -> Iterator[str]:
    """Yields each imported name in full: `from a.b import c` is `a.b.c`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("manylabel.") for name in names)


def may_import(package: str, name: str) -> bool:
    """Whether a module of `package` may import `name` (dotted), one of ours or not."""
    target, _, rest = name.partition(".")
    if target not in PACKAGES or target == package or package == "pipeline":
        return True
    if target == "pipeline":
        return False
    if package in ("trainer", "eval"):
        return target == "preprocessing" and rest.partition(".")[0] in READERS
    return package == "deploy" and not any(part.startswith("_") for part in rest.split("."))


def violations(path: str, source: str) -> list[str]:
    """Each forbidden import in the module at `path` (relative to the root, with slashes)."""
    found = []
    for name in imports(source):
        library = name.partition(".")[0]
        allowed = LIBRARIES.get(library)
        if name.startswith("."):
            found.append(f"{path}: relative import {name}: write the package's name")
        elif not may_import(path.partition("/")[0], name):
            found.append(f"{path}: imports {name} against the direction")
        elif allowed and not path.startswith(allowed):
            found.append(f"{path}: imports {name}; only {', '.join(allowed)} may")
    return found


def test_every_module_keeps_the_import_direction():
    modules = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert len(modules) > len(PACKAGES)
    found = []
    for module in modules:
        found += violations(module.relative_to(ROOT).as_posix(), module.read_text("utf-8"))
    assert found == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("preprocessing/job.py", "from manylabel.trainer.config import TrainerConfig"),
        ("preprocessing/images.py", "import tensorflow as tf"),
        ("trainer/input.py", "from manylabel.preprocessing import images"),
        ("trainer/input.py", "from manylabel.preprocessing.images import decode"),
        ("trainer/job.py", "def f():\n    from manylabel.eval.metrics import recall"),
        ("trainer/shard.py", "import ray"),
        ("eval/store.py", "import manylabel.trainer.checkpoint"),
        ("eval/figures.py", "import keras"),
        ("eval/job.py", "import apache_beam as beam"),
        ("eval/job.py", "from .metrics import recall"),
        ("deploy/export.py", "from manylabel.pipeline.config import Settings"),
        ("deploy/export.py", "from manylabel.trainer.checkpoint import _read"),
        ("pipeline/cli.py", "def f():\n    import tensorflow"),
    ],
)
def test_a_forbidden_import_is_found(path, source):
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "preprocessing/job.py",
            "import apache_beam as beam\nfrom manylabel.preprocessing import images",
        ),
        (
            "trainer/input.py",
            "import tensorflow as tf\nfrom manylabel.preprocessing.dataset import Dataset",
        ),
        ("trainer/topology.py", "import ray"),
        ("deploy/export.py", "import keras\nfrom manylabel.trainer.checkpoint import load_weights"),
        (
            "pipeline/train.py",
            "from manylabel.trainer.job import train\nfrom manylabel.eval.job import evaluate",
        ),
    ],
)
def test_an_allowed_import_is_left_alone(path, source):
    assert violations(path, source) == []


def test_nobody_imports_eval_as_a_bare_name():
    """It would shadow the builtin in that module."""
    found = [
        file
        for folder in (*PACKAGES, "tests", "benchmarks", "examples")
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.partition(".")[0] == "eval" and alias.asname is None
    ]
    assert found == []


def test_help_loads_no_heavy_library():
    script = (
        "import sys\n"
        "from manylabel.pipeline.cli import main\n"
        "sys.argv = ['manylabel', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    usage, _, loaded = done.stdout.partition("LOADED ")
    assert "Usage" in usage
    assert HEAVY.isdisjoint(loaded.split())


def test_help_answers_within_a_second():
    """The best of five runs, so that a busy machine does not decide."""
    command = [str(Path(sys.executable).with_name("manylabel")), "--help"]
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0
