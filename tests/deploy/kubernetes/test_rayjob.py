"""The RayJob of each stage, as an API server with KubeRay's definitions would read it."""

import copy
import importlib.metadata
import json
import re
import shlex

import pytest
import yaml

from manylabel.deploy.errors import DeploymentError
from manylabel.deploy.kubernetes.rayjob import (
    FILES_FOLDER,
    create_command,
    render_files,
    render_ray_job,
)
from manylabel.storage.jobs import JobStage
from tests.deploy.kubernetes._rules import (
    core_problems,
    custom_resource_problems,
    pod_of,
    restriction_problems,
)

# RFC 1035 and KubeRay's limit of 47, so that its services' names have room.
LABEL = re.compile(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?")

# Each setting with a value that is not its default.
OTHER = {
    "image": f"elsewhere.example/manylabel@sha256:{'f' * 64}",
    "context": "production",
    "namespace": "vision",
    "claim": "pictures",
    "mount": "/mnt/pictures",
    "service_account": "vision-ray",
    "token_secret": "vision-token",
    "nodes": 5,
    "cpus": 16,
    "memory": 64,
    "gpus": 4,
    "shared_memory": 9,
    "scratch": 100,
    "head_cpus": 3,
    "head_memory": 12,
    "node_selector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}],
    "must_start_within": "1h",
    "time_limit": "3d",
    "grace_period": "10m",
}


def groups(manifest):
    cluster = manifest["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def pods(manifest):
    return [group["template"]["spec"] for group in groups(manifest)]


def container(spec):
    (only,) = spec["containers"]
    return only


@pytest.mark.parametrize("stage", JobStage)
@pytest.mark.parametrize("fields", [{}, OTHER], ids=["defaults", "others"])
def test_every_stage_is_valid_for_kuberay_and_kubernetes(make_config, make_job, stage, fields):
    job = make_job(make_config(**fields), stage=stage, metadata={"run": "/data/runs/one"})
    manifest = render_ray_job(job)
    assert custom_resource_problems(manifest) == []
    for group in groups(manifest):
        assert core_problems(pod_of(group["template"])) == []
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    assert core_problems(render_files(job)) == []


@pytest.mark.parametrize("stage", JobStage)
def test_manifests_are_plain_yaml(make_config, make_job, stage):
    job = make_job(make_config(**OTHER), stage=stage)
    for manifest in (render_ray_job(job), render_files(job)):
        assert yaml.safe_load(yaml.safe_dump(manifest)) == manifest


@pytest.mark.parametrize("stage", JobStage)
def test_every_pod_keeps_to_the_level_restricted(make_job, stage):
    for spec in pods(render_ray_job(make_job(stage=stage))):
        assert restriction_problems(spec) == []


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("spec.shutdownAfterJobFinish", True, "'shutdownAfterJobFinish' was unexpected"),
        ("spec.managedBy", "me", "managedBy field value must be either"),
        ("spec.deletionStrategy", {"onSuccess": {"policy": "DeleteCluster"}}, "BOTH onSuccess and"),
        ("spec.preRunningDeadlineSeconds", 0, "less than the minimum"),
        ("spec.activeDeadlineSeconds", 2**31, "greater than the maximum"),
        ("spec.backoffLimit", "0", "is not of type 'integer'"),
        ("spec.rayClusterSpec.authOptions.mode", "tokens", "is not one of ['disabled', 'token']"),
        ("spec.rayClusterSpec.headGroupSpec.template.spec.container", [], "'container' was unexp"),
    ],
)
def test_a_wrong_manifest_is_found(make_job, path, value, told):
    manifest = copy.deepcopy(render_ray_job(make_job()))
    *parents, key = path.split(".")
    place = manifest
    for parent in parents:
        place = place[parent]
    place[key] = value
    (problem,) = custom_resource_problems(manifest)
    assert told in problem


def test_a_wrong_pod_is_found(make_job):
    template = copy.deepcopy(groups(render_ray_job(make_job()))[0]["template"])
    template["spec"]["containers"][0]["resources"]["limit"] = {}
    assert core_problems(pod_of(template)) != []


def test_an_unrestricted_pod_is_found(make_job):
    spec = pods(render_ray_job(make_job()))[0]
    for change in (
        lambda spec: spec.update(hostNetwork=True),
        lambda spec: spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        lambda spec: spec["securityContext"].pop("seccompProfile"),
        lambda spec: spec["securityContext"].update(runAsUser=0),
        lambda spec: container(spec)["securityContext"].update(privileged=True),
        lambda spec: container(spec)["securityContext"].pop("capabilities"),
    ):
        changed = copy.deepcopy(spec)
        change(changed)
        assert len(restriction_problems(changed)) == 1


def test_the_cluster_asks_for_the_token_by_reference(make_job):
    cluster = render_ray_job(make_job())["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token", "secretName": "manylabel-ray-token"}
    # KubeRay accepts authOptions from 2.52 on, by this field alone.
    assert cluster["rayVersion"] == importlib.metadata.version("ray")


def test_what_is_forgotten_ends_and_a_mistake_costs_one_cluster(make_config, make_job):
    config = make_config(must_start_within="10m", time_limit="2h", grace_period="90s")
    spec = render_ray_job(make_job(config))["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] == 0
    assert spec["preRunningDeadlineSeconds"] == 600
    assert spec["activeDeadlineSeconds"] == 7200
    assert spec["backoffLimit"] == 0  # Each of KubeRay's retries is a new cluster, exit 2 included.
    assert spec["submissionMode"] == "HTTPMode"


@pytest.mark.parametrize("stage", JobStage)
def test_a_job_that_is_stopped_has_the_grace_period_to_save(make_config, make_job, stage):
    job = make_job(make_config(grace_period="90s"), stage=stage)
    manifest = render_ray_job(job)
    environment = yaml.safe_load(manifest["spec"]["runtimeEnvYAML"])["env_vars"]
    assert environment == {"RAY_JOB_STOP_WAIT_TIME_S": "90"}
    for role, spec in zip(("head", "worker"), pods(manifest), strict=False):
        # Kubernetes kills when this is over, and preStop is part of it.
        assert spec["terminationGracePeriodSeconds"] > 90
        command = container(spec)["lifecycle"]["preStop"]["exec"]["command"]
        assert command[-4:] == ["manylabel.deploy.kubernetes.pre_stop", role, job.name, "90"]
        assert manifest["spec"]["jobId"] == job.name


def test_workers_are_a_fixed_group(make_config, make_job):
    job = make_job(make_config(nodes=3, cpus=6, memory=24, shared_memory=10, gpus=1))
    head, workers = groups(render_ray_job(job))
    assert {workers[key] for key in ("replicas", "minReplicas", "maxReplicas")} == {3}
    amounts = {"cpu": "6", "memory": "24Gi", "nvidia.com/gpu": "1"}
    resources = container(workers["template"]["spec"])["resources"]
    assert resources == {"requests": amounts, "limits": amounts}
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert container(head["template"]["spec"])["resources"]["limits"] == {
        "cpu": "2",
        "memory": "8Gi",
    }


@pytest.mark.parametrize("stage", [JobStage.EVALUATE, JobStage.EXPORT])
def test_what_is_one_process_has_one_pod_with_what_a_node_has(make_config, make_job, stage):
    manifest = render_ray_job(make_job(make_config(cpus=6, memory=24, gpus=2), stage=stage))
    (spec,) = pods(manifest)
    limits = {"cpu": "6", "memory": "24Gi", "nvidia.com/gpu": "2"}
    assert container(spec)["resources"]["limits"] == limits
    assert manifest["spec"]["entrypointNumGpus"] == 2


@pytest.mark.parametrize("stage", JobStage)
def test_shared_memory_holds_the_object_store(make_config, make_job, stage):
    manifest = render_ray_job(make_job(make_config(shared_memory=6), stage=stage))
    for group in groups(manifest):
        spec = group["template"]["spec"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounted = {mount["mountPath"]: mount for mount in container(spec)["volumeMounts"]}
        volume = volumes[mounted["/dev/shm"]["name"]]["emptyDir"]
        assert volume["medium"] == "Memory"
        gibibytes = int(volume["sizeLimit"].removesuffix("Gi"))
        assert 0 < int(group["rayStartParams"]["object-store-memory"]) < gibibytes * 1024**3
        memory = int(container(spec)["resources"]["limits"]["memory"].removesuffix("Gi"))
        assert gibibytes * 2 <= memory
    assert gibibytes == 6


def test_there_is_a_place_for_all_that_is_written(make_job):
    for spec in pods(render_ray_job(make_job())):
        environment = {item["name"]: item["value"] for item in container(spec)["env"]}
        mounted = {mount["mountPath"] for mount in container(spec)["volumeMounts"]}
        assert {"/tmp", "/tmp/ray", "/dev/shm", "/data", environment["HOME"]} <= mounted


def test_the_driver_finds_its_files(make_job):
    job = make_job(files={"job.json": '{"a": 1}', "settings.yaml": "é: 1\n"})
    manifest, files = render_ray_job(job), render_files(job)
    assert files["data"] == {"job.json": '{"a": 1}', "settings.yaml": "é: 1\n"}
    head = pods(manifest)[0]
    (volume,) = [volume for volume in head["volumes"] if "configMap" in volume]
    assert volume["configMap"]["name"] == files["metadata"]["name"]
    others = make_job(files={"settings.yaml": "trainer: {epochs: 2}"})
    assert others.name == manifest["metadata"]["name"]
    assert others.files_name != files["metadata"]["name"]
    (mount,) = [
        mount for mount in container(head)["volumeMounts"] if mount["name"] == volume["name"]
    ]
    assert (mount["mountPath"], mount["readOnly"]) == (FILES_FOLDER, True)


def test_the_command_line_is_the_words_that_were_given(make_job):
    words = ("manylabel", "train", "/data/a b", "--set", "x='$HOME'", "a;b")
    assert shlex.split(render_ray_job(make_job(command=words))["spec"]["entrypoint"]) == [*words]


@pytest.mark.parametrize(
    "run",
    [
        *("one", "/data/runs/one/", "UPPER_case.v2", "-", "...", "größe", "走る", "🦉", "9lives"),
        *("a" * 300, "-".join("ab" * 40), "x" * 24 + "-" + "y" * 24, "a b\tc\nd"),
    ],
)
@pytest.mark.parametrize("stage", JobStage)
def test_every_run_has_a_name_that_kubernetes_takes(make_job, run, stage):
    job = make_job(stage=stage, run=run)
    assert LABEL.fullmatch(job.name)
    assert "--" not in job.name
    manifest = render_ray_job(job)
    for labelled in (manifest, render_files(job), *(g["template"] for g in groups(manifest))):
        for value in labelled["metadata"]["labels"].values():
            assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", value)
        assert labelled["metadata"]["labels"]["app.kubernetes.io/instance"] == job.name


def test_names_tell_apart_what_reads_alike(make_job):
    runs = ["/data/runs/a b", "/data/runs/a-b", "/data/runs/A_B", "/other/a-b", "a" * 99, "a" * 98]
    jobs = [make_job(run=run) for run in runs]
    jobs += [make_job(run=runs[0], stage=JobStage.EXPORT), make_job(run=runs[0], number=2)]
    assert len({job.name for job in jobs}) == len(jobs)
    assert make_job(run=runs[0]).name == jobs[0].name  # Submitted again, it is there already.
    assert jobs[0].name.startswith("train-a-b-")
    assert make_job(run="/data/runs/Café 2").name.startswith("train-cafe-2-")


@pytest.mark.parametrize("field", OTHER)
def test_every_setting_changes_what_is_made(make_config, make_job, field):
    def made(config):
        jobs = [make_job(config, stage=stage) for stage in JobStage]
        manifests = [[render_files(job), render_ray_job(job)] for job in jobs]
        return json.dumps([manifests, create_command(config)])

    assert made(make_config()) != made(make_config(**{field: OTHER[field]}))


def test_settings_that_are_not_tested_above_are_found(make_config):
    assert OTHER.keys() == type(make_config()).model_fields.keys()


def test_kubectl_makes_it_in_the_context_of_the_settings(make_config):
    assert create_command(make_config()) == ["kubectl", "create", "--filename", "-"]
    command = create_command(make_config(context="production"))
    assert command == ["kubectl", "--context", "production", "create", "--filename", "-"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a/b": ""}, "expected a file's name of letters"),
        ({"..": ""}, "expected a file's name of letters"),
        ({"big": "é" * 600_000}, "1200003 bytes, and at most 1048576"),
    ],
)
def test_files_that_no_config_map_holds_are_refused(make_job, files, told):
    with pytest.raises(DeploymentError, match=re.escape(told)):
        render_files(make_job(files=files))
