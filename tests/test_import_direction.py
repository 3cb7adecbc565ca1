"""Which part may import which, read from the source of every module; and a light start-up."""

import ast
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Part -> the parts of ours that its modules may import. A module belongs to the longest name that
# it begins with, and may always import its own part.
_TRAINER = ("trainer", "trainer.networks", "trainer.records", "trainer.plane", "trainer.runs")
_PREPROCESSING = (
    "preprocessing",
    "preprocessing.executors",
    "preprocessing.catalogs",
    "preprocessing.decisions",
    "preprocessing.transport",
    "preprocessing.pictures",
    "preprocessing.planning",
    "preprocessing.writing",
    "preprocessing.tars",
)
_EVAL = ("eval", "eval.ranking", "eval.statistics", "eval.store", "eval.review", "eval.schedule")
_DEPLOY = ("deploy", "deploy.dashboard")
_WHOLE = ("storage", "cluster", *_PREPROCESSING, *_TRAINER, "trainer.program", *_EVAL, *_DEPLOY)
MAY_IMPORT = {
    "storage": (),
    "cluster": ("storage",),
    # Its settings, errors and progress below its rooms, the job above them.
    "preprocessing": ("storage", *_PREPROCESSING),
    "preprocessing.executors": ("storage", "cluster", "preprocessing"),
    "preprocessing.tars": (),
    "preprocessing.catalogs": ("storage", "preprocessing", "preprocessing.tars"),
    "preprocessing.decisions": ("storage", "preprocessing"),
    "preprocessing.transport": ("storage", "preprocessing", "preprocessing.decisions"),
    "preprocessing.pictures": (
        "storage",
        "preprocessing",
        "preprocessing.executors",
        "preprocessing.tars",
    ),
    "preprocessing.planning": ("storage", *_PREPROCESSING[:6]),
    "preprocessing.writing": (
        "storage",
        "preprocessing",
        "preprocessing.executors",
        "preprocessing.transport",
        "preprocessing.pictures",
        "preprocessing.planning",
    ),
    # Its settings and its commands, above the five rooms.
    "trainer": ("storage", *_TRAINER, "trainer.program"),
    "trainer.records": ("storage", "trainer"),
    "trainer.plane": ("storage", "trainer", "trainer.records"),
    "trainer.networks": ("trainer", "trainer.records", "trainer.plane"),
    "trainer.runs": ("storage", "trainer", "trainer.records", "trainer.plane"),
    "trainer.program": ("storage", "cluster", *_TRAINER),
    # Its settings and errors below its rooms, the job above them.
    "eval": ("storage", *_EVAL),
    "eval.ranking": ("storage", "eval"),
    "eval.statistics": ("eval",),
    "eval.store": ("storage", "eval"),
    "eval.review": ("storage", "eval", "eval.statistics", "eval.store"),
    "eval.schedule": ("storage", "eval", "eval.store"),
    "deploy": ("storage", *_TRAINER, *_EVAL),
    # Reads the stores alone; of `deploy`, whose errors it shares, it may load no model.
    "deploy.dashboard": ("storage", "deploy", "trainer", "trainer.plane", "trainer.runs", *_EVAL),
    "pipeline": _WHOLE,
    # The way in from Python, as the command line is from the shell.
    "library": ("storage", "preprocessing", "trainer", "eval", "eval.store", "pipeline"),
}

# Library -> what may import it, at module level or inside a function.
LIBRARIES = {
    "apache_beam": ("preprocessing.transport",),
    "ray": ("cluster", "preprocessing.executors", "trainer.program"),
    "tensorflow": (
        "trainer.networks",
        "trainer.records",
        "trainer.program",
        "trainer.predict",
        "deploy",
    ),
    "keras": ("trainer.networks", "trainer.program", "trainer.predict", "deploy"),
    # The stages tell what they do in events, and return results.
    "rich": ("pipeline.terminal", "pipeline.progress", "pipeline.tables"),
}

# They take seconds to import: none may be loaded before a command is chosen.
HEAVY = {"tensorflow", "keras", "apache_beam", "ray", "pyarrow", "numba", "matplotlib", "sklearn"}


def modules() -> dict[str, str]:
    """Dotted name without "manylabel." -> source, of every module of ours."""
    packages = {part.partition(".")[0] for part in MAY_IMPORT}
    files = [file for package in packages for file in (ROOT / package).rglob("*.py")]
    sources = {_dotted(file.relative_to(ROOT)): file.read_text("utf-8") for file in files}
    return sources | {"library": (ROOT / "src" / "manylabel" / "library.py").read_text("utf-8")}


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(source: str) -> Iterator[str]:
    """Yields each imported name in full: `from a.b import c` is `a.b.c`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ("." * node.level + f"{node.module}.{alias.name}" for alias in node.names)


def part_of(name: str) -> str:
    """The part that a dotted name of ours (without "manylabel.") belongs to."""
    within = [part for part in MAY_IMPORT if f"{name}.".startswith(f"{part}.")]
    return max(within, key=len)


def violations(module: str, source: str) -> list[str]:
    """Each forbidden import in a module, given by its dotted name without "manylabel."."""
    found = []
    part = part_of(module)
    for name in imports(source):
        top, _, target = name.partition(".")
        libraries = LIBRARIES.get(top, ("",))
        if name.startswith("."):
            found.append(f"{module}: relative import {name}: write the package's name")
        elif top in {part.partition(".")[0] for part in MAY_IMPORT}:
            found.append(f"{module}: imports {name}: write manylabel.{name}")
        elif top == "manylabel" and part_of(target) not in (part, *MAY_IMPORT[part]):
            found.append(f"{module}: imports {name}; {part} may import {MAY_IMPORT[part]}")
        elif top == "manylabel" and part_of(target) != part and "._" in target:
            found.append(f"{module}: imports {name}, which is private to {part_of(target)}")
        elif not any(f"{module}.".startswith(place) for place in libraries):
            found.append(f"{module}: imports {name}; only {', '.join(libraries)} may")
    return found


def circle(sources: Mapping[str, str]) -> list[str]:
    """The modules of a circle of imports, those inside functions included; [] if there is none."""
    graph = {
        module: set(_modules_in(imports(source), sources)) - {module}
        for module, source in sources.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _modules_in(names: Iterable[str], sources: Mapping[str, str]) -> Iterator[str]:
    for name in names:
        target = name.removeprefix("manylabel.")
        yield from (known for known in (target, target.rpartition(".")[0]) if known in sources)


def test_every_module_keeps_the_import_direction():
    sources = modules()
    assert {part_of(module) for module in sources} == MAY_IMPORT.keys()
    found = [line for module, source in sources.items() for line in violations(module, source)]
    assert found == []


def test_no_import_goes_round_in_a_circle():
    assert circle(modules()) == []


def test_no_part_imports_a_part_that_imports_it():
    """Also where each single module would be no circle; three parts are on both sides of their
    rooms: settings and errors below them, commands above."""
    parts = {
        part: "\n".join(source for module, source in modules().items() if part_of(module) == part)
        for part in MAY_IMPORT
        if part not in ("preprocessing", "trainer", "eval")
    }
    between = {
        part: "\n".join(
            f"import {part_of(name.removeprefix('manylabel.'))}"
            for name in imports(source)
            if name.startswith("manylabel.")
        )
        for part, source in parts.items()
    }
    assert circle(between) == []


def test_the_trainer_is_small_at_its_top():
    files = [path.name for path in (ROOT / "trainer").iterdir() if path.suffix == ".py"]
    assert len(files) <= 9, files


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("storage.tables", "from manylabel.preprocessing.errors import PreprocessingError"),
        ("preprocessing.job", "from manylabel.trainer.config import TrainerConfig"),
        ("preprocessing.pictures.images", "import tensorflow as tf"),
        ("preprocessing.pictures.images", "import storage.tables"),
        ("trainer.records.batches", "from manylabel.preprocessing.pictures.images import decode"),
        ("trainer.records.batches", "from manylabel.trainer.plane import layout"),
        ("trainer.plane.coordinator", "from manylabel.trainer.runs.writer import CheckpointWriter"),
        ("trainer.plane.shard", "import tensorflow as tf"),
        ("trainer.runs.resume", "import ray"),
        ("trainer.job", "def f():\n    from manylabel.eval.ranking.measure import measure"),
        ("trainer.job", "import ray"),
        ("eval.store", "import manylabel.trainer.runs.checkpoint"),
        ("eval.store", "from manylabel.preprocessing import config"),
        ("eval.figures", "import keras"),
        ("eval.job", "import apache_beam as beam"),
        ("eval.job", "from .metrics import recall"),
        ("deploy.export", "from manylabel.pipeline.config import Settings"),
        ("deploy.export", "from manylabel.trainer.runs.checkpoint import _read"),
        ("pipeline.app", "def f():\n    import tensorflow"),
        ("pipeline.train", "from rich.console import Console"),
    ],
)
def test_a_forbidden_import_is_found(module, source):
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "preprocessing.job",
            "import manylabel.storage.tables\nfrom manylabel.preprocessing import errors",
        ),
        ("trainer.records.batches", "import tensorflow\nimport manylabel.storage.dataset"),
        ("trainer.program.topology", "import ray\nfrom manylabel.trainer.runs import writer"),
        ("deploy.export", "import keras\nfrom manylabel.trainer.runs.checkpoint import verify"),
        (
            "pipeline.train",
            "import manylabel.trainer.job\nimport manylabel.eval.job",
        ),
    ],
)
def test_an_allowed_import_is_left_alone(module, source):
    assert violations(module, source) == []


def test_a_circle_is_found():
    sources = {"a": "import manylabel.b", "b": "def f():\n    from manylabel.a import x", "c": ""}
    assert set(circle(sources)) == {"a", "b"}


def test_help_loads_no_heavy_library():
    script = (
        "import atexit, sys\n"
        "from manylabel.pipeline.cli import main\n"
        "sys.argv = ['manylabel', '--help']\n"
        "modules = lambda: sorted({name.partition('.')[0] for name in sys.modules})\n"
        "atexit.register(lambda: print('LOADED', *modules()))\n"
        "main()\n"
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
