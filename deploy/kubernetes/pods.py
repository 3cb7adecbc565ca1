"""The pods of a Ray cluster that runs a job, fit for Pod Security's level "restricted"."""

import importlib.metadata
import re
from enum import StrEnum
from typing import Any

from manylabel.deploy.kubernetes.config import KubernetesConfig, Toleration
from manylabel.storage.jobs import JobStage

USER = 10001
"""Of every process, as in deploy/docker/Dockerfile; also the group that the shared folder gets."""

_HOME = "/home/manylabel"
_AFTER_SAVING = 60  # Seconds, for Ray to end after the job has.


class Role(StrEnum):
    """What a pod is to Ray.

    HEAD: has the cluster's state and runs the driver. WORKER: one of the nodes.
    """

    HEAD = "head"
    WORKER = "worker"


def cluster_labels(name: str, stage: JobStage) -> dict[str, str]:
    """Of everything that a job consists of."""
    version = re.sub(r"[^A-Za-z0-9._-]", "-", importlib.metadata.version("manylabel"))
    return {
        "app.kubernetes.io/name": "manylabel",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": str(stage),
        "app.kubernetes.io/version": version,
        "app.kubernetes.io/part-of": "manylabel",
        "app.kubernetes.io/managed-by": "manylabel",
    }


def pod_template(
    config: KubernetesConfig,
    labels: dict[str, str],
    *,
    role: Role,
    submission: str,
    cpus: int,
    memory: int,
    gpus: int,
    shared_memory: int,
    files: tuple[str, str] | None,
) -> dict[str, Any]:
    """A pod of Ray.

    Args:
        submission: of the job in Ray, which is stopped before the pod is.
        memory, shared_memory: GiB; the second is part of the first.
        files: a ConfigMap's name, and where its files are to be seen.
    """
    volumes = _volumes(config, shared_memory)
    mounts: list[dict[str, Any]] = [
        {"name": "data", "mountPath": str(config.mount)},
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "ray", "mountPath": "/tmp/ray"},
        {"name": "shared-memory", "mountPath": "/dev/shm"},
        {"name": "home", "mountPath": _HOME},
    ]
    if files:
        config_map, folder = files
        volumes.append({"name": "files", "configMap": {"name": config_map}})
        mounts.append({"name": "files", "mountPath": folder, "readOnly": True})
    grace = round(config.grace_period.total_seconds())
    container: dict[str, Any] = {
        "name": f"ray-{role}",
        "image": config.image,
        "imagePullPolicy": "IfNotPresent",  # By digest it cannot have changed.
        "env": [
            {"name": "HOME", "value": _HOME},
            {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"},
        ],
        "resources": _resources(cpus, memory, gpus),
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        # Ray kills what runs on a node that is told to end. Before Kubernetes tells it, this has
        # the job stopped and waits for its checkpoint, on the workers as well: they hold weights.
        "lifecycle": {
            "preStop": {
                "exec": {
                    "command": [
                        *("python", "-I", "-m", "manylabel.deploy.kubernetes.pre_stop"),
                        *(str(role), submission, str(grace)),
                    ]
                }
            }
        },
    }
    return {
        "metadata": {"labels": labels},
        "spec": {
            "serviceAccountName": config.service_account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # A head that starts again has forgotten its job: the operator sees to the pods.
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": grace + _AFTER_SAVING,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "nodeSelector": dict(config.node_selector),
            "tolerations": [_toleration(toleration) for toleration in config.tolerations],
            "containers": [container],
            "volumes": volumes,
        },
    }


def _volumes(config: KubernetesConfig, shared_memory: int) -> list[dict[str, Any]]:
    scratch = f"{config.scratch}Gi"
    return [
        {"name": "data", "persistentVolumeClaim": {"claimName": config.claim}},
        {"name": "tmp", "emptyDir": {"sizeLimit": scratch}},
        {"name": "ray", "emptyDir": {"sizeLimit": scratch}},
        {
            "name": "shared-memory",
            "emptyDir": {"medium": "Memory", "sizeLimit": f"{shared_memory}Gi"},
        },
        {"name": "home", "emptyDir": {"sizeLimit": "1Gi"}},  # Caches of libraries.
    ]


def _resources(cpus: int, memory: int, gpus: int) -> dict[str, dict[str, str]]:
    """Requests as high as limits: the last pods that are evicted where a node runs short."""
    amounts = {"cpu": str(cpus), "memory": f"{memory}Gi"}
    if gpus:
        amounts["nvidia.com/gpu"] = str(gpus)
    return {"requests": dict(amounts), "limits": dict(amounts)}


def _toleration(toleration: Toleration) -> dict[str, str]:
    return {key: str(value) for key, value in toleration.model_dump(exclude_none=True).items()}
