"""What an installation has: all of ours, under one name that is nobody else's."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from manylabel.pipeline.submission.package import code_files

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cluster", "deploy", "eval", "pipeline", "preprocessing", "storage", "trainer")
SUFFIXES = (".py", ".yaml", ".html", ".css", ".js", ".svg")
# What other distributions install at the top level; a published one has a `trainer`.
FOREIGN = ("cluster", "trainer", "eval", "preprocessing", "pipeline", "deploy", "storage")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing is left in the checkout; without the network."""
    copy = tmp_path_factory.mktemp("copy")
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in (*PACKAGES, "src"):
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=left_out)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(copy / "dist"), str(copy)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (path,) = (copy / "dist").glob("*.whl")
    return path


def test_a_wheel_has_every_module_below_one_name(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"manylabel"}
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*")]
    ours = {f"manylabel/{path.relative_to(ROOT)}" for path in files if path.suffix in SUFFIXES}
    top = {f"manylabel/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    assert ours | top == {name for name in names if name.startswith("manylabel/")}


def test_what_travels_to_a_cluster_is_what_a_wheel_has(wheel):
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if name.startswith("manylabel/")}
    assert {name for name in code_files() if name.startswith("manylabel/")} == in_wheel


def test_it_works_beside_a_distribution_that_has_a_trainer(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    for name in FOREIGN:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OURS = False\n")
    code = f"""if True:
        import importlib
        import manylabel
        from manylabel.pipeline.cli import run
        assert manylabel.__file__.startswith({str(tmp_path)!r})
        for name in {FOREIGN}:
            assert importlib.import_module(name).OURS is False
            importlib.import_module(f"manylabel.{{name}}.errors")
        assert run(["presets", "show", "demo"]) == 0
    """
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / "pipeline" / "presets" / "demo.yaml").read_text("utf-8")
