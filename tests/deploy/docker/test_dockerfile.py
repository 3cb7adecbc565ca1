"""The image's recipe; that it builds and runs is shown by _image_proof.py beside this file."""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
_PIN = re.compile(r"^([a-z0-9._-]+)(?:\[[a-z,-]+\])?==(\S+)", re.MULTILINE)


def hadolint(path):
    command = [str(Path(sys.executable).with_name("hadolint")), "--no-color", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def pins(path):
    """Name and version of each package; the tested ones name some twice, by the Python version."""
    return set(_PIN.findall(path.read_text("utf-8")))


def test_hadolint_has_nothing_to_say():
    assert hadolint(DOCKERFILE) == ""


def test_hadolint_speaks_where_there_is_something_to_say(tmp_path):
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(DOCKERFILE.read_text("utf-8") + "RUN cd /tmp && sudo ls\n")
    assert "DL3004" in hadolint(wrong)


def test_it_runs_as_a_number_that_is_not_root():
    from manylabel.deploy.kubernetes.pods import USER

    users = re.findall(r"^USER (.*)$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    assert users == [f"{USER}:{USER}"]


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_an_image_has_the_versions_that_are_tested(variant):
    installed = pins(DOCKERFILE.with_name(f"{variant}.lock"))
    cuda = {(name, version) for name, version in installed if name.startswith("nvidia-")}
    assert installed - cuda - pins(ROOT / "requirements.lock") == set()
    assert bool(cuda) == (variant == "gpu")
    names = {name for name, _ in installed}
    assert {"ray", "tensorflow", "apache-beam", "setuptools"} <= names
    assert {"pytest", "mypy", "ruff", "uv", "playwright"}.isdisjoint(names)


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_every_package_is_locked_by_its_hash(variant):
    text = DOCKERFILE.with_name(f"{variant}.lock").read_text("utf-8")
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert blocks
    assert all("--hash=sha256:" in block for block in blocks)


def travels(path):
    """Whether a file of the checkout is sent to the build, by .dockerignore: the last rule that
    fits a path or a folder above it decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        rule = line.removeprefix("!")
        if not rule or rule.startswith("#"):
            continue
        parts = path.split("/")
        above = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
        pattern = rule.removeprefix("**/")
        if any(
            fnmatch.fnmatch(part.rpartition("/")[2] if rule.startswith("**/") else part, pattern)
            and (rule.startswith("**/") or part.count("/") == rule.count("/"))
            for part in above
        ):
            sent = line.startswith("!")
    return sent


def test_only_what_is_installed_travels():
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {path.partition("/")[0] for path in listed.stdout.splitlines() if travels(path)}
    packages = {"cluster", "deploy", "eval", "pipeline", "preprocessing", "storage", "trainer"}
    assert top == packages | {"src", "LICENSE", "README.md", "pyproject.toml", "setup.cfg"}
    assert not travels(".git/config")
    assert not travels("trainer/__pycache__/job.cpython-311.pyc")
    assert not travels("demo-output/run.yaml")
