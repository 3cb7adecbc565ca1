"""Where and how a job runs on Kubernetes: the settings file of `submit --on kubernetes`."""

import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from manylabel.deploy.errors import DeploymentError
from manylabel.eval.schedule.durations import Duration
from manylabel.storage.errors import reason_of
from manylabel.storage.problems import problems, shown
from manylabel.storage.settings import SettingsSection
from manylabel.storage.yaml_text import YamlError, parse_yaml

_EXAMPLE = "image: registry.example/manylabel@sha256:…"
_IMAGE = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_OCCUPIED = ("/", "/dev", "/etc", "/home", "/opt", "/proc", "/sys", "/tmp", "/usr", "/var")
_LONGEST = timedelta(days=365)


def _dns_label(value: str) -> str:
    if not _DNS_LABEL.fullmatch(value):
        raise ValueError(
            f"expected a name of lower-case letters, digits and -, at most 63, received "
            f"{shown(value)}; write it as `kubectl get` shows it"
        )
    return value


def _some_time(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= _LONGEST:
        raise ValueError(f"expected 1s to 365d, received {value}; give a time in between")
    return value


Name = Annotated[str, AfterValidator(_dns_label)]
Time = Annotated[Duration, AfterValidator(_some_time)]


class TolerationOperator(StrEnum):
    """How a toleration is compared with a node's taint."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(SettingsSection):
    """A taint of nodes that the job's pods put up with, as Kubernetes words it."""

    key: str = Field(min_length=1, description="Of the taint, e.g. nvidia.com/gpu.")
    operator: TolerationOperator = Field(
        TolerationOperator.EXISTS, description="Exists: any value; Equal: this one."
    )
    value: str | None = Field(None, description="Of the taint; with Equal only.")
    effect: TaintEffect | None = Field(None, description="Of the taint; any if left out.")

    @model_validator(mode="after")
    def _value_with_equal(self) -> Self:
        if (self.operator is TolerationOperator.EQUAL) != (self.value is not None):
            raise ValueError(
                f"expected a value with operator Equal and none with Exists, received operator "
                f"{self.operator} and value {shown(self.value)}; change one of them"
            )
        return self


class KubernetesConfig(SettingsSection):
    """Where and how jobs run on Kubernetes."""

    image: str = Field(
        description="The image of deploy/docker, by digest: every node runs the same code, today "
        "and in a retry next week."
    )
    context: str | None = Field(
        None, min_length=1, description="Of kubectl's configuration; its current one if left out."
    )
    namespace: Name = Field("manylabel", description="As deploy/kubernetes/base makes it.")
    claim: Name = Field(
        "manylabel-data", description="PersistentVolumeClaim of the folder that all nodes share."
    )
    mount: PurePosixPath = Field(
        PurePosixPath("/data"), description="Where every pod sees that folder."
    )
    service_account: Name = Field("manylabel-ray", description="Of the pods; it may do nothing.")
    token_secret: Name = Field(
        "manylabel-ray-token", description="Secret whose key auth_token is Ray's token."
    )
    nodes: int = Field(
        2,
        ge=1,
        le=1000,
        description="Workers of Ray, for preprocess and train. evaluate and export are one process "
        "and have one pod, with what a node has.",
    )
    cpus: int = Field(8, ge=1, description="Cores of a node, for that node's pod alone.")
    memory: int = Field(32, ge=2, description="GiB of a node, shared memory included.")
    gpus: int = Field(0, ge=0, le=16, description="NVIDIA GPUs of a node.")
    shared_memory: int = Field(
        8,
        ge=1,
        description="GiB of /dev/shm, where Ray holds weights and gradients on their way: four "
        "snapshots of 91 MB a worker, and room. A container's own 64 MB make a job hang.",
    )
    scratch: int = Field(
        20, ge=1, description="GiB of a node's disk for /tmp, Ray's logs and spilled objects."
    )
    head_cpus: int = Field(
        2, ge=1, description="Cores of Ray's head, which runs the driver and no workers."
    )
    head_memory: int = Field(
        8, ge=4, description="GiB of Ray's head; half of it may be shared memory."
    )
    node_selector: dict[str, str] = Field(
        {}, description="Labels that a Kubernetes node must have."
    )
    tolerations: tuple[Toleration, ...] = Field(
        (), description="Taints of Kubernetes nodes that are no hindrance."
    )
    must_start_within: Time = Field(
        timedelta(minutes=30),
        description="From submission until all nodes are up: pulling a GPU image of 8 GB takes "
        "minutes, a cluster that adds machines some more. Then it fails, with a reason.",
    )
    time_limit: Time = Field(
        timedelta(days=1),
        description="From submission until it is ended, with a checkpoint: what is forgotten "
        "costs no more than this.",
    )
    grace_period: Time = Field(
        timedelta(minutes=5),
        description="From being told to stop until it is killed. A checkpoint of the full network "
        "takes seconds on a disk; a slow shared folder may take minutes.",
    )

    @field_validator("image")
    @classmethod
    def _by_digest(cls, image: str) -> str:
        if not _IMAGE.fullmatch(image):
            raise ValueError(
                f"expected an image by digest, NAME@sha256: and 64 hexadecimal digits, received "
                f"{shown(image)}; `docker buildx imagetools inspect NAME:TAG` shows it"
            )
        return image

    @field_validator("mount")
    @classmethod
    def _free_place(cls, mount: PurePosixPath) -> PurePosixPath:
        top = "/".join(str(mount).split("/")[:2]) or "/"
        if not mount.is_absolute() or ".." in mount.parts or top in _OCCUPIED:
            raise ValueError(
                f"expected an absolute path outside {', '.join(_OCCUPIED[1:])}, received "
                f"{shown(str(mount))}; use e.g. /data"
            )
        return mount

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.shared_memory * 2 > self.memory:
            raise ValueError(
                f"shared_memory={self.shared_memory} is taken from memory={self.memory} and may be "
                "half of it; lower it or raise memory"
            )
        for name in ("must_start_within", "grace_period"):
            if getattr(self, name) >= self.time_limit:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be shorter than "
                    f"time_limit={self.time_limit}; change one of them"
                )
        return self


def read_kubernetes_config(path: Path) -> KubernetesConfig:
    """The settings in a YAML file.

    Raises:
        DeploymentError: there is no file, or it is wrong; each line of the text is one problem.
    """
    try:
        tree = parse_yaml(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise DeploymentError(
            f"{path}: expected the settings of Kubernetes, found none; write them, e.g. {_EXAMPLE}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DeploymentError(f"{path}: cannot be read: {reason_of(error)}") from error
    except YamlError as error:
        raise DeploymentError(f"{path}: {error}") from error
    if not isinstance(tree, dict):
        raise DeploymentError(
            f"{path}: expected settings, received {shown(tree)}; write them, e.g. {_EXAMPLE}"
        )
    try:
        return KubernetesConfig.model_validate(tree)
    except ValidationError as error:
        found = problems(error, tree, KubernetesConfig)
        raise DeploymentError("\n".join(f"{path}: {problem}" for problem in found)) from error
