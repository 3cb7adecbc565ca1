"""The manifests of a job on Kubernetes: a RayJob of KubeRay, and a ConfigMap with its files.

A RayJob makes a Ray cluster for one job, and ends it with the job. Of the ways to start the job,
HTTPMode is taken: the operator asks for its state, and nothing depends on a stream of its log.
"""

import hashlib
import importlib.metadata
import json
import re
import shlex
import unicodedata
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from manylabel.deploy.errors import DeploymentError
from manylabel.deploy.kubernetes.config import KubernetesConfig
from manylabel.deploy.kubernetes.pods import (
    Role,
    cluster_labels,
    pod_template,
)
from manylabel.storage.jobs import JobStage

FILES_FOLDER = "/etc/manylabel/job"
"""Where the job finds its files, read only."""

_ON_NODES = (JobStage.PREPROCESS, JobStage.TRAIN)  # The others are one process.
_NAME_LENGTH = 47  # KubeRay's limit: it makes names of services from it, of at most 63.
_DIGEST_LENGTH = 10  # 40 bits: a million jobs meet once in two with a chance of one in two.
_FILE_NAME = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_LARGEST_FILES = 1024 * 1024  # Bytes; what Kubernetes lets a ConfigMap hold.
_SHARE_OF_STORE = 0.9  # Of shared memory; Ray keeps its own bookkeeping there as well.


class KubernetesJob(BaseModel):
    """One stage for one run, to be carried out on a cluster made for it.

    Attributes:
        run: the run's directory, or the dataset's, as all pods see it; names are made from it.
        command: words of the driver's command line, as `manylabel supervise FILE`.
        files: text by name; the job finds them in `FILES_FOLDER`.
        metadata: goes with the job in Ray's Jobs API, which shows it in clear: no secrets.
        number: of the submission of this stage for this run, from 1. The names of a job that runs
            or is not deleted yet are taken, so that nothing is submitted twice.
        ray_version: of the image; KubeRay's token authentication depends on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: KubernetesConfig
    stage: JobStage
    run: str = Field(min_length=1)
    command: tuple[str, ...] = Field(min_length=1)
    files: dict[str, str] = {}
    metadata: dict[str, str] = {}
    number: int = Field(1, ge=1)
    ray_version: str = Field(default_factory=lambda: importlib.metadata.version("ray"))

    @property
    def name(self) -> str:
        """Of the RayJob and of the submission in Ray: a DNS label.

        Different stages, runs and numbers have different names, also where what is readable of
        them is the same.
        """
        key = "\0".join((self.stage, self.run, str(self.number)))
        digest = hashlib.sha256(key.encode()).hexdigest()[:_DIGEST_LENGTH]
        room = _NAME_LENGTH - len(self.stage) - _DIGEST_LENGTH - 2
        readable = _readable(self.run.rstrip("/").rpartition("/")[2])[:room].strip("-")
        return "-".join(filter(None, (self.stage, readable, digest)))

    @property
    def files_name(self) -> str:
        """Of the ConfigMap: other files have another name, since a ConfigMap that is there stays
        as it is."""
        content = json.dumps(self.files, sort_keys=True).encode()
        return f"{self.name}-{hashlib.sha256(content).hexdigest()[:_DIGEST_LENGTH]}"


def render_ray_job(job: KubernetesJob) -> dict[str, Any]:
    """The RayJob; `render_files` has the ConfigMap that it mounts."""
    config = job.config
    seconds = {
        name: round(getattr(config, name).total_seconds())
        for name in ("must_start_within", "time_limit", "grace_period")
    }
    # The time between Ray's SIGTERM and its SIGKILL; 3 s without it, too few to save.
    environment = {"RAY_JOB_STOP_WAIT_TIME_S": str(seconds["grace_period"])}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": _metadata(job),
        "spec": {
            "submissionMode": "HTTPMode",
            "jobId": job.name,
            "entrypoint": shlex.join(job.command),
            # Of a job that is one process; Ray hides GPUs from who does not ask for them.
            "entrypointNumGpus": 0 if job.stage in _ON_NODES else config.gpus,
            "metadata": job.metadata,
            "runtimeEnvYAML": yaml.safe_dump({"env_vars": environment}),
            # KubeRay would make a new cluster for every failure, a mistake in the settings
            # included. The command on the head tells them apart, and tries again by itself.
            "backoffLimit": 0,
            "preRunningDeadlineSeconds": seconds["must_start_within"],
            "activeDeadlineSeconds": seconds["time_limit"],
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 0,
            "rayClusterSpec": {
                "rayVersion": job.ray_version,
                "authOptions": {"mode": "token", "secretName": config.token_secret},
                "headGroupSpec": _head(job),
                "workerGroupSpecs": _workers(job),
            },
        },
    }


def render_files(job: KubernetesJob) -> dict[str, Any]:
    """The ConfigMap with the job's files.

    Raises:
        DeploymentError: no ConfigMap can hold them.
    """
    for name in job.files:
        if not _FILE_NAME.fullmatch(name) or name in (".", ".."):
            raise DeploymentError(
                f"{name}: expected a file's name of letters, digits, -, _ and ., at most 253, as "
                "it travels in a ConfigMap; rename it"
            )
    size = sum(len(name) + len(text.encode()) for name, text in job.files.items())
    if size > _LARGEST_FILES:
        raise DeploymentError(
            f"the job's files have {size} bytes, and at most {_LARGEST_FILES} travel in a "
            f"ConfigMap; put the largest below {job.config.mount} and name it there"
        )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(job) | {"name": job.files_name},
        "immutable": True,
        "data": dict(job.files),
    }


def create_command(config: KubernetesConfig) -> list[str]:
    """The command that makes what it reads from its standard input.

    `create`, not `apply`: a job that is there already is an error, not changed under its feet.
    """
    context = ["--context", config.context] if config.context else []
    return ["kubectl", *context, "create", "--filename", "-"]


def _head(job: KubernetesJob) -> dict[str, Any]:
    config = job.config
    start = {"dashboard-host": "0.0.0.0"}  # The operator asks from its own pod; the token guards.
    if job.stage in _ON_NODES:
        cpus, memory, gpus = config.head_cpus, config.head_memory, 0
        shared = min(config.shared_memory, config.head_memory // 2)
        start["num-cpus"] = "0"  # Workers and shards belong on the nodes.
    else:
        cpus, memory, gpus = config.cpus, config.memory, config.gpus
        shared = config.shared_memory
    template = pod_template(
        config,
        cluster_labels(job.name, job.stage),
        role=Role.HEAD,
        submission=job.name,
        cpus=cpus,
        memory=memory,
        gpus=gpus,
        shared_memory=shared,
        files=(job.files_name, FILES_FOLDER),
    )
    return {"rayStartParams": {**start, **_object_store(shared)}, "template": template}


def _workers(job: KubernetesJob) -> list[dict[str, Any]]:
    config = job.config
    if job.stage not in _ON_NODES:
        return []
    template = pod_template(
        config,
        cluster_labels(job.name, job.stage),
        role=Role.WORKER,
        submission=job.name,
        cpus=config.cpus,
        memory=config.memory,
        gpus=config.gpus,
        shared_memory=config.shared_memory,
        files=None,
    )
    fixed = {"replicas": config.nodes, "minReplicas": config.nodes, "maxReplicas": config.nodes}
    return [
        {
            "groupName": "nodes",
            **fixed,
            "rayStartParams": _object_store(config.shared_memory),
            "template": template,
        }
    ]


def _object_store(shared_memory: int) -> dict[str, str]:
    """By its size in bytes: Ray takes what it finds in /dev/shm for its own, all of it."""
    return {"object-store-memory": str(int(shared_memory * 1024**3 * _SHARE_OF_STORE))}


def _metadata(job: KubernetesJob) -> dict[str, Any]:
    return {
        "name": job.name,
        "namespace": job.config.namespace,
        "labels": cluster_labels(job.name, job.stage),
    }


def _readable(name: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]+", "-", ascii_only.lower()).strip("-")
