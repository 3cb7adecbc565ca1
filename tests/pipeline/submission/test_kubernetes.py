"""What kubectl is given, and what is told of its answer; a stand-in answers as a server does."""

import os

import pytest
import yaml

from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.submission.kubernetes import submit_on_kubernetes
from manylabel.pipeline.submission.request import JobRequest
from manylabel.storage.jobs import JobStage

TAKEN = 'Error from server (AlreadyExists): error when creating "STDIN": {} already exists'


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "kubernetes.yaml"
    path.write_text(f"image: registry.example/manylabel@sha256:{64 * 'a'}\n")
    return path


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """kubectl(code, *lines): one that keeps what it is given, prints lines, and ends with code."""
    given = tmp_path / "given.yaml"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def answer(code, *lines):
        script = tmp_path / "kubectl"
        printed = "".join(f"echo {line!r} >&2\n" for line in lines)
        script.write_text(f"#!/bin/sh\ncat > {given}\n{printed}echo created\nexit {code}\n")
        script.chmod(0o755)
        return given

    return answer


def request(epochs=1) -> JobRequest:
    return JobRequest(
        stage=JobStage.TRAIN,
        place="/data/runs/first",
        arguments=("train", "settings.yaml", "--run", "/data/runs/first"),
        settings={"trainer": {"epochs": epochs}},
        address="",
        code_version="0",
    )


def test_the_job_and_its_files_are_created(config, kubectl):
    given = kubectl(0)
    assert submit_on_kubernetes(request(), config, [], dry_run=False) == "created"
    job, files = yaml.safe_load_all(given.read_text())
    assert (job["kind"], files["kind"]) == ("RayJob", "ConfigMap")
    assert JobRequest.model_validate_json(files["data"]["job.json"]) == request()
    assert yaml.safe_load(files["data"]["settings.yaml"]) == {"trainer": {"epochs": 1}}


def test_nothing_is_created_to_look(config, kubectl):
    given = kubectl(0)
    assert "kind: RayJob" in submit_on_kubernetes(request(), config, [], dry_run=True)
    assert not given.exists()


def test_what_was_submitted_before_is_told_with_the_way_out(config, kubectl):
    kubectl(1, TAKEN.format('rayjobs.ray.io "x"'), TAKEN.format('configmaps "x"'))
    with pytest.raises(CommandError, match=r"was submitted before, as train-first-.* delete "):
        submit_on_kubernetes(request(), config, [], dry_run=False)


def test_files_that_are_there_already_are_these(config, kubectl):
    kubectl(1, TAKEN.format('configmaps "x"'))
    assert submit_on_kubernetes(request(), config, [], dry_run=False) == "created"


def test_what_kubectl_refuses_is_one_line(config, kubectl):
    kubectl(1, "error: no matches for kind RayJob", "ensure CRDs are installed first")
    with pytest.raises(CommandError, match=r"^kubectl: error: no matches for kind RayJob$"):
        submit_on_kubernetes(request(), config, [], dry_run=False)


def test_without_kubectl_the_way_out_is_told(config, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(CommandError, match="expected kubectl on the PATH"):
        submit_on_kubernetes(request(), config, [], dry_run=False)


def test_a_path_of_this_machine_is_refused(config, kubectl):
    kubectl(0)
    with pytest.raises(CommandError, match=r"/home/me/labels.csv: expected a path as the pods see"):
        submit_on_kubernetes(request(), config, ["/home/me/labels.csv"], dry_run=True)
    assert submit_on_kubernetes(request(), config, ["/data/labels.csv"], dry_run=True)
