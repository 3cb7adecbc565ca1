"""A request, as `submit` makes it."""

import pytest

from manylabel.pipeline.submission.request import JobRequest
from manylabel.storage.jobs import JobStage


@pytest.fixture
def make_request():
    """make_request(place=..., settings=...): of a training."""

    def make(**values) -> JobRequest:
        return JobRequest.model_validate(
            {
                "stage": JobStage.TRAIN,
                "place": "/data/runs/first",
                "arguments": ("train", "settings.yaml", "--run", "/data/runs/first"),
                "settings": {"trainer": {"epochs": 2.0, "topology": {"workers": 3}}},
                "address": "http://head:8265",
                "code_version": "0.1.0+abc",
                **values,
            }
        )

    return make
