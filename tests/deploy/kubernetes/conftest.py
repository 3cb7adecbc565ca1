"""Settings and jobs to render."""

import pytest

from manylabel.deploy.kubernetes.config import KubernetesConfig
from manylabel.deploy.kubernetes.rayjob import KubernetesJob
from manylabel.storage.jobs import JobStage

IMAGE = f"registry.example/manylabel@sha256:{'0123456789abcdef' * 4}"


@pytest.fixture
def make_config():
    """Settings with what is given, and defaults."""
    return lambda **fields: KubernetesConfig.model_validate({"image": IMAGE, **fields})


@pytest.fixture
def make_job(make_config):
    """A job with what is given; by default, a training of /data/runs/one."""

    def make(config=None, **fields):
        defaults = {
            "stage": JobStage.TRAIN,
            "run": "/data/runs/one",
            "command": ("manylabel", "supervise", "/etc/manylabel/job/job.json"),
            "files": {"job.json": "{}", "settings.yaml": "trainer: {}\n"},
        }
        return KubernetesJob(config=config or make_config(), **(defaults | fields))

    return make
