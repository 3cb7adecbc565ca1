"""What is asked of a cluster: one local command, its settings, and where it leaves what it does."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from manylabel.pipeline.config import Settings
from manylabel.pipeline.errors import CommandError
from manylabel.storage.documents import Document
from manylabel.storage.jobs import JobStage
from manylabel.trainer.networks.keras_names import is_application_name

REQUEST = "job.json"
SETTINGS = "settings.yaml"
"""Of the job's folder on the cluster, which its command runs in."""

KEY = "manylabel.request"
"""Of the job's metadata, which Ray keeps for as long as the cluster lives."""

_LARGEST = 100_000
"""Bytes. Ray hands a job's metadata on as one environment variable; Linux allows 131,072."""

_PLAIN = re.compile(r"[^A-Za-z0-9_-]+")


class JobRequest(Document):
    """A job, as it travels.

    Attributes:
        place: the run's directory, or the dataset's, absolute.
        arguments: of the local command, without "manylabel"; the settings' file is SETTINGS.
        settings: what that file holds; None for commands that read a run's own.
        retries: attempts after the first, where one was lost and not wrong.
        code_version: of who submits it.
    """

    NOUN: ClassVar[str] = "a job's request"
    REMEDY: ClassVar[str] = "submit with the version of manylabel that the cluster has"

    format_version: Literal[1] = 1
    stage: JobStage
    place: str
    arguments: tuple[str, ...]
    settings: dict[str, Any] | None = None
    retries: int = 3
    address: str
    code_version: str

    @property
    def prefix(self) -> str:
        """Of the ids of its submissions: equal for one stage in one place, whoever submits it."""
        return submission_prefix(self.stage, self.place)

    def to_metadata(self) -> dict[str, str]:
        """What a job says of itself to who lists the cluster's jobs.

        Raises:
            CommandError: it is more than a process can be told.
        """
        request = self.model_dump_json()
        if len(request.encode()) > _LARGEST:
            raise CommandError(
                f"{self.place}: expected settings of at most {_LARGEST:,} bytes for a job, "
                f"received {len(request.encode()):,}; put what is long into a file of its own"
            )
        return {
            KEY: request,
            "manylabel.stage": self.stage,
            "manylabel.place": self.place,
        }


def submission_prefix(stage: JobStage, place: str) -> str:
    """Of the ids of a stage's submissions in a place, given as an absolute path."""
    name = _PLAIN.sub("-", Path(place).name)[:40]
    digest = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"manylabel-{stage}-{name}-{digest}-"


def request_of(metadata: Mapping[str, str] | None) -> JobRequest | None:
    """From a job's metadata; None for a job that is not ours, or of another format."""
    try:
        return JobRequest.model_validate_json((metadata or {})[KEY])
    except (KeyError, ValueError):
        return None


def differences(there: JobRequest, here: JobRequest) -> list[str]:
    """Settings and arguments of one job that another does not have, a line each."""
    before, now = _flat(there), _flat(here)
    return [
        f"{key}: {_shown(before, key)} there, {_shown(now, key)} here"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]


def cluster_settings(settings: Settings, stage: JobStage) -> dict[str, Any]:
    """Settings as they are to hold on a cluster, for a settings file.

    Preprocessing goes to all nodes; a cluster that the settings name is the one that is submitted
    to, which the job finds by itself.
    """
    tree = settings.model_dump(mode="json")
    if csv := tree["eval"]["weights"]["csv"]:
        tree["eval"]["weights"]["csv"] = absolute(csv)
    weights = tree["trainer"]["model"]["initial_weights"]
    if weights and not is_application_name(weights):
        tree["trainer"]["model"]["initial_weights"] = absolute(weights)
    section = tree["preprocessing"]
    if stage is JobStage.PREPROCESS and section["executor"] != "inline":
        section["executor"] = "ray"
        section["runner"].update(processes=None, address=None)
    return tree


def absolute(path: str) -> str:
    """As all nodes are to see it: a job has another current folder."""
    return path if "://" in path else os.path.normpath(Path(path).expanduser().absolute())


def _flat(request: JobRequest) -> dict[str, Any]:
    found: dict[str, Any] = {"arguments": " ".join(request.arguments)}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        else:
            found[prefix] = value

    walk("", json.loads(json.dumps(request.settings or {})))
    return found


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "not set"
