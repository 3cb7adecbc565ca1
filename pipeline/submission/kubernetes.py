"""Gives a job to Kubernetes, which makes a Ray cluster for it."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from manylabel.deploy.kubernetes.config import read_kubernetes_config
from manylabel.deploy.kubernetes.rayjob import (
    FILES_FOLDER,
    KubernetesJob,
    create_command,
    render_files,
    render_ray_job,
)
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.submission.request import REQUEST, SETTINGS, JobRequest

_SECONDS = 60


def submit_on_kubernetes(
    request: JobRequest, config: Path, paths: Sequence[str], *, dry_run: bool
) -> str:
    """Gives kubectl the RayJob of a request and its files; what kubectl says.

    Args:
        config: YAML file of KubernetesConfig.
        paths: that the job reads or writes, as the pods see them.
        dry_run: return the manifests, for `kubectl create -f -`, instead.

    Raises:
        DeploymentError: the settings file is wrong.
        CommandError: a path is of this machine; there is no kubectl, or it refuses.
    """
    job = kubernetes_job(request, config)
    for path in paths:
        if not Path(path).is_relative_to(job.config.mount):
            raise CommandError(
                f"{path}: expected a path as the pods see it, below {job.config.mount} (`mount` in "
                f"{config}); put it on the shared volume and name it there"
            )
    manifests = yaml.safe_dump_all([render_ray_job(job), render_files(job)], sort_keys=False)
    if dry_run:
        return manifests
    command = create_command(job.config)
    if shutil.which(command[0]) is None:
        raise CommandError(
            "expected kubectl on the PATH; install it, or pipe what --dry-run prints to "
            "`kubectl create -f -` elsewhere"
        )
    try:
        done = subprocess.run(
            command,
            input=manifests,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"kubectl: no answer within {_SECONDS} s") from error
    if problem := _problem(done.returncode, done.stderr):
        if "AlreadyExists" not in problem:
            raise CommandError(f"kubectl: {problem}")
        where = f"kubectl --namespace {job.config.namespace}"
        raise CommandError(
            f"{request.place}: this {request.stage} was submitted before, as {job.name}: "
            f"`{where} get rayjob {job.name}`; to submit it anew: `{where} delete "
            f"rayjob,configmap --selector app.kubernetes.io/instance={job.name}`"
        )
    return done.stdout.strip()


def _problem(code: int, printed: str) -> str | None:
    """What kubectl could not do; None if all is there. A ConfigMap that was there before has this
    very content, as its name says."""
    lines = [line for line in printed.strip().splitlines() if line]
    problems = [line for line in lines if not ("AlreadyExists" in line and "configmaps " in line)]
    if problems or not lines:
        return None if code == 0 else (problems or [f"exit code {code}"])[0]
    return None


def kubernetes_job(request: JobRequest, config: Path) -> KubernetesJob:
    """The job as Kubernetes is given it."""
    files = {REQUEST: request.to_bytes().decode()}
    if request.settings is not None:
        files[SETTINGS] = yaml.safe_dump(request.settings, sort_keys=False)
    return KubernetesJob(
        config=read_kubernetes_config(config),
        stage=request.stage,
        run=request.place,
        command=("manylabel", "supervise", f"{FILES_FOLDER}/{REQUEST}"),
        files=files,
        metadata=request.to_metadata(),
    )
