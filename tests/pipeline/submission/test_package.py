"""What travels to the cluster."""

import importlib.metadata
import io
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from manylabel.pipeline.submission.package import job_package
from manylabel.pipeline.submission.request import JobRequest
from manylabel.storage.jobs import JobStage


@pytest.fixture(scope="module")
def with_code() -> bytes:
    request = JobRequest(
        stage=JobStage.EXPORT, place="/run", arguments=("export",), address="", code_version="0"
    )
    return job_package(request, with_code=True)


def names(package: bytes) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return {*archive.namelist()}


def test_only_the_request_and_its_settings_travel(make_request):
    assert names(job_package(make_request(), with_code=False)) == {"job.json", "settings.yaml"}
    without = job_package(make_request(settings=None), with_code=False)
    assert names(without) == {"job.json"}
    with zipfile.ZipFile(io.BytesIO(without)) as archive:
        assert JobRequest.model_validate_json(archive.read("job.json")).place == "/data/runs/first"


def test_equal_content_is_an_equal_file(make_request, monkeypatch):
    package = job_package(make_request(), with_code=False)
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert job_package(make_request(), with_code=False) == package
    assert job_package(make_request(retries=9), with_code=False) != package


def test_our_code_is_that_of_a_wheel(with_code):
    found = names(with_code)
    inner = {name.split("/")[1] for name in found if name.startswith("manylabel/")}
    assert {"pipeline", "trainer", "storage", "py.typed", "__main__.py"} <= inner
    assert "manylabel/deploy/dashboard/templates/base.html" in found
    assert "manylabel/pipeline/presets/demo.yaml" in found
    for name in found:
        parts = {*name.split("/")}
        assert not parts & {".git", "tests", "examples", "benchmarks", "docs", "__pycache__"}, name
    assert len(with_code) < 5_000_000, "bytes; the cluster takes 100 MB"


def test_the_code_that_travelled_runs_where_only_dependencies_are(with_code, tmp_path):
    with zipfile.ZipFile(io.BytesIO(with_code)) as archive:
        archive.extractall(tmp_path / "job")
    dependencies = tmp_path / "dependencies"  # and neither us nor a file that leads to us
    dependencies.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "manylabel" not in path.name:
            (dependencies / path.name).symlink_to(path)

    def isolated(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-S", *arguments],
            cwd=tmp_path / "job",
            env={**os.environ, "PYTHONPATH": str(dependencies)},
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "trainer:" in isolated("-m", "manylabel", "presets", "show", "demo")
    where = "import manylabel.pipeline, importlib.metadata as m; "
    where += "print(manylabel.pipeline.__file__, m.version('manylabel'))"
    version = importlib.metadata.version("manylabel")
    assert isolated("-c", where).split() == [
        str(tmp_path / "job" / "manylabel" / "pipeline" / "__init__.py"),
        version,
    ]
