"""The manifests in deploy/kubernetes: valid, restricted, and what jobs refer to."""

import copy
import shutil
import subprocess

import pytest
import yaml

from manylabel.deploy.kubernetes.pods import USER
from tests.deploy.kubernetes._rules import (
    REPOSITORY,
    core_problems,
    pod_of,
    restriction_problems,
)

FOLDER = REPOSITORY / "deploy" / "kubernetes"


def documents(*folders):
    """Each manifest in the files of these folders, by kind and name."""
    found = {}
    for folder in folders:
        for path in sorted((FOLDER / folder).glob("*.yaml")):
            if path.name != "kustomization.yaml":
                for document in yaml.safe_load_all(path.read_text("utf-8")):
                    found[document["kind"], document["metadata"]["name"]] = document
    return found


def kustomized(folder):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed; it has kustomize")
    command = ["kubectl", "kustomize", str(FOLDER / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {
        (document["kind"], document["metadata"]["name"]): document
        for document in yaml.safe_load_all(done.stdout)
    }


def template_of(document):
    spec = document["spec"]
    return spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]


BASE = documents("base")
WITH_PODS = [key for key in BASE if key[0] in ("CronJob", "Deployment")]


@pytest.mark.parametrize("key", BASE, ids=" ".join)
def test_every_manifest_is_valid(key):
    assert core_problems(BASE[key]) == []


@pytest.mark.parametrize("key", WITH_PODS, ids=" ".join)
def test_every_pod_keeps_to_the_level_restricted(key):
    template = template_of(BASE[key])
    assert core_problems(pod_of(template)) == []
    assert restriction_problems(template["spec"]) == []
    assert template["spec"]["securityContext"]["runAsUser"] == USER
    (container,) = template["spec"]["containers"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    environment = {item["name"]: item.get("value") for item in container["env"]}
    assert {"/tmp", "/data", environment["HOME"]} <= mounted


def test_a_wrong_manifest_is_found():
    document = copy.deepcopy(BASE["CronJob", "manylabel-schedule"])
    document["spec"]["concurrencyPolice"] = "Forbid"
    assert core_problems(document) != []


def test_the_namespace_refuses_other_pods():
    labels = BASE["Namespace", "manylabel"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_all_that_a_job_refers_to_is_there(make_config):
    config = make_config()
    assert ("Namespace", config.namespace) in BASE
    assert ("PersistentVolumeClaim", config.claim) in BASE
    account = BASE["ServiceAccount", config.service_account]
    assert account["automountServiceAccountToken"] is False
    claim = BASE["PersistentVolumeClaim", config.claim]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_no_secret_is_in_the_files():
    assert "Secret" not in {kind for kind, _ in BASE}
    (container,) = template_of(BASE["Deployment", "manylabel-dashboard"])["spec"]["containers"]
    (token,) = [item for item in container["env"] if item["name"] == "MANYLABEL_TOKEN"]
    assert token["valueFrom"]["secretKeyRef"] == {
        "name": "manylabel-dashboard-token",
        "key": "token",
    }


def test_nothing_is_open_but_what_ray_needs():
    """Each policy as (pods, direction, peers, ports): all that may pass."""
    policies = {
        name: document["spec"] for (kind, name), document in BASE.items() if kind == "NetworkPolicy"
    }
    everything = policies.pop("default-deny")
    assert everything == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ray = {"matchLabels": {"ray.io/is-ray-node": "yes"}}
    head = {"matchLabels": {"ray.io/node-type": "head"}}
    system, operator = (
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in ("kube-system", "kuberay-operator")
    )
    allowed = [
        (spec["podSelector"], direction, rule[peers], rule.get("ports", "all"))
        for spec in policies.values()
        for direction, peers in (("ingress", "from"), ("egress", "to"))
        for rule in spec.get(direction, ())
    ]
    names = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    assert allowed == [
        (ray, "ingress", [{"podSelector": ray}], "all"),
        (ray, "egress", [{"podSelector": ray}], "all"),
        (ray, "egress", [system], names),
        (head, "ingress", [operator], [{"protocol": "TCP", "port": 8265}]),
    ]


def test_the_commands_are_commands_of_ours():
    """Their options, as the command line itself reads them."""
    from typer.main import get_command

    from manylabel.pipeline.app import app

    for key in WITH_PODS:
        (container,) = template_of(BASE[key])["spec"]["containers"]
        program, *words = container["command"]
        assert program == "manylabel"
        command = get_command(app)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context(command.name, words)


@pytest.mark.parametrize("folder", ["base", "overlays/gpu"])
def test_kustomize_makes_valid_manifests_in_one_namespace(folder):
    made = kustomized(folder)
    assert made.keys() == BASE.keys()
    for (kind, _), document in made.items():
        assert core_problems(document) == []
        assert document["metadata"].get("namespace") == (
            None if kind == "Namespace" else "manylabel"
        )
        assert document["metadata"]["labels"]["app.kubernetes.io/part-of"] == "manylabel"


def test_the_gpu_overlay_gives_scheduled_evaluations_a_gpu():
    spec = template_of(kustomized("overlays/gpu")["CronJob", "manylabel-schedule"])["spec"]
    (container,) = spec["containers"]
    assert container["resources"]["limits"] == {"memory": "8Gi", "nvidia.com/gpu": "1"}
    assert restriction_problems(spec) == []
    assert spec["tolerations"][0]["key"] == "nvidia.com/gpu"
