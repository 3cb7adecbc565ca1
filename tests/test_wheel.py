"""What a source distribution has: the repository. What an installation has: all of ours, under one
name that is nobody else's."""

import email
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from manylabel.pipeline.submission.package import code_files

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
# What a checkout gathers beside the project.
LEFT_OUT = {
    ".git",
    *(line.strip("/") for line in (ROOT / ".gitignore").read_text().split() if line[0] == "/"),
}
CACHES = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache", "*.nb[ci]")
PICTURES = "openclipart/images"  # 20 MB
PACKAGES = ("cluster", "deploy", "eval", "pipeline", "preprocessing", "storage", "trainer")
SUFFIXES = (".py", ".yaml", ".html", ".css", ".js", ".svg")
# What other distributions install at the top level; a published one has a `trainer`.
FOREIGN = ("cluster", "trainer", "eval", "preprocessing", "pipeline", "deploy", "storage")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """So that nothing is left in the checkout."""

    def left_out(folder, names):
        beside = {name for name in names if folder == str(ROOT) and name in LEFT_OUT}
        pictures = {name for name in names if f"{folder}/{name}".endswith(PICTURES)}
        return CACHES(folder, names) | beside | pictures

    folder = tmp_path_factory.mktemp("copy") / "manylabel"
    return shutil.copytree(ROOT, folder, symlinks=True, ignore=left_out)


@pytest.fixture(scope="module")
def unpacked(copy, tmp_path_factory):
    """A source distribution's folder."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "setup.py", "--quiet", "sdist", "--formats=tar", "-d", str(folder)]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    (path,) = folder.glob("*.tar")
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    return folder / path.stem


@pytest.fixture(scope="module")
def wheel(unpacked, tmp_path_factory):
    """Built from the source distribution, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(unpacked)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (path,) = folder.glob("*.whl")
    return path


def paths_below(folder):
    """Of files, and of links with what they lead to."""
    return {
        (str(path.relative_to(folder)), os.readlink(path) if path.is_symlink() else None)
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_a_source_distribution_is_the_repository(copy, unpacked):
    added = paths_below(unpacked) - paths_below(copy)
    assert {path.split("/")[-1] for path, _ in added} <= {"PKG-INFO", "setup.cfg"}
    made = {path for path in paths_below(copy) if ".egg-info/" in path[0]}
    assert paths_below(copy) - made - paths_below(unpacked) == set()
    assert os.access(unpacked / ".ci" / "run", os.X_OK)


def test_a_wheel_says_what_it_is_and_leads_nowhere(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = str(metadata.get_payload())
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert links != []
    assert [link for link in links if not link.startswith("https://")] == []
    assert "Getting started (docs/getting-started.md) goes through them" in text


def test_links_lead_to_the_source_where_that_is_known():
    standing_alone = runpy.run_path(str(ROOT / "setup.py"))["standing_alone"]
    text = "[A](docs/a.md#b) ![P](p.png) [W](https://w.example) [H](#here)"
    assert standing_alone(text, "https://h.example/m/") == (
        "[A](https://h.example/m/blob/HEAD/docs/a.md#b) ![P](https://h.example/m/raw/HEAD/p.png) "
        "[W](https://w.example) [H](#here)"
    )
    assert standing_alone(text, None) == ("A (docs/a.md#b) *P* [W](https://w.example) [H](#here)")


def test_a_wheel_has_every_module_below_one_name(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"manylabel"}
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*")]
    ours = {f"manylabel/{path.relative_to(ROOT)}" for path in files if path.suffix in SUFFIXES}
    top = {f"manylabel/{name}" for name in ("__init__.py", "__main__.py", "library.py", "py.typed")}
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
