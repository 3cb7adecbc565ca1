"""The settings file: what it may say, and what is told where it is wrong."""

import re
from datetime import timedelta

import pytest

from manylabel.deploy.errors import DeploymentError
from manylabel.deploy.kubernetes.config import TolerationOperator, read_kubernetes_config
from tests.deploy.kubernetes.conftest import IMAGE


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "kubernetes.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_an_image_is_enough(write):
    config = read_kubernetes_config(write(f"image: {IMAGE}\n"))
    assert (config.namespace, config.nodes, config.gpus) == ("manylabel", 2, 0)
    assert config.time_limit == timedelta(days=1)


def test_a_file_may_say_all(write):
    config = read_kubernetes_config(
        write(
            f"image: {IMAGE}\ntime_limit: 2h30m\ntolerations:\n"
            "  - {key: dedicated, operator: Equal, value: vision, effect: NoSchedule}\n"
        )
    )
    assert config.time_limit == timedelta(hours=2, minutes=30)
    assert config.tolerations[0].operator is TolerationOperator.EQUAL


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nodes: 3", "image: expected a value, received none"),
        ("- a", "expected settings, received"),
        ("image: [", "not valid YAML"),
        ("image: manylabel:latest", "image: expected an image by digest"),
        (f"image: {IMAGE[:-1]}", "image: expected an image by digest"),
        (f"image: {IMAGE}\nnode: 3", "node: unknown setting; did you mean nodes"),
        (f"image: {IMAGE}\nnodes: 0", "nodes: expected greater than or equal to 1, received 0"),
        (f"image: {IMAGE}\nnamespace: My_Space", "namespace: expected a name of lower-case"),
        (f"image: {IMAGE}\nmount: data", "mount: expected an absolute path outside"),
        (f"image: {IMAGE}\nmount: /tmp/data", "mount: expected an absolute path outside"),
        (f"image: {IMAGE}\nmount: /data/../etc", "mount: expected an absolute path outside"),
        (f"image: {IMAGE}\nmount: /", "mount: expected an absolute path outside"),
        (f"image: {IMAGE}\nmemory: 8", "shared_memory=8 is taken from memory=8"),
        (f"image: {IMAGE}\ntime_limit: 400d", "time_limit: expected 1s to 365d"),
        (f"image: {IMAGE}\ntime_limit: 60", "time_limit: expected a duration such as 6h"),
        (f"image: {IMAGE}\ntime_limit: 4m", "must be shorter than time_limit"),
        (
            f"image: {IMAGE}\ntolerations: [{{key: a, operator: Equal}}]",
            "tolerations.0: expected a value with operator Equal",
        ),
    ],
)
def test_what_is_wrong_is_told_in_a_line(write, text, told):
    path = write(text)
    with pytest.raises(DeploymentError, match=re.escape(told)) as caught:
        read_kubernetes_config(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: ")


def test_every_problem_has_its_line(write):
    with pytest.raises(DeploymentError) as caught:
        read_kubernetes_config(write("image: x\nnodes: 0\ncpu: 3"))
    assert len(str(caught.value).splitlines()) == 3


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DeploymentError, match="expected the settings of Kubernetes, found none"):
        read_kubernetes_config(tmp_path / "kubernetes.yaml")
