"""What docs/kubernetes.md has a reader copy."""

import re
import shutil
import subprocess

import pytest
import yaml

from manylabel.deploy.kubernetes.config import KubernetesConfig
from tests.deploy.kubernetes._rules import REPOSITORY, core_problems

PAGE = (REPOSITORY / "docs" / "kubernetes.md").read_text("utf-8")
OVERLAY, SETTINGS, SCHEDULES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_settings_are_settings():
    assert KubernetesConfig.model_validate(yaml.safe_load(SETTINGS)).nodes == 4


def test_the_table_has_every_setting_and_its_default():
    table = PAGE.partition("| setting | default |")[2].partition("\n\n")[0]
    named = {
        name
        for line in table.splitlines()[2:]
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert named == KubernetesConfig.model_fields.keys()


@pytest.mark.parametrize("folder", ["base", "overlays/gpu"])
def test_the_overlay_names_the_image_and_wakes_the_schedules(tmp_path, folder):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed; it has kustomize")
    shutil.copytree(REPOSITORY / "deploy" / "kubernetes", tmp_path / "deploy" / "kubernetes")
    overlay = yaml.safe_load(OVERLAY.replace("kubernetes/base", f"kubernetes/{folder}"))
    overlay["patches"] += yaml.safe_load(SCHEDULES)
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    done = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path / "cluster")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    assert all(core_problems(document) == [] for document in made)
    images = re.findall(r"image: (.*)", done.stdout)
    assert images == [f"registry.example/manylabel@sha256:{'0' * 64}"] * 2
    (schedule,) = [document for document in made if document["kind"] == "CronJob"]
    assert schedule["spec"]["suspend"] is False
    (claim,) = [document for document in made if document["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["storageClassName"] == "nfs"


def test_the_secrets_have_the_keys_that_are_read():
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    (commands,) = [
        block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "openssl" in block
    ]
    commands = commands.replace("/dev/stdin", "/dev/stdin --dry-run=client --output yaml; echo ---")
    done = subprocess.run(["bash", "-ec", commands], capture_output=True, text=True, check=True)
    secrets = [document for document in yaml.safe_load_all(done.stdout) if document]
    keys = {secret["metadata"]["name"]: [*secret["data"]] for secret in secrets}
    assert keys == {"manylabel-ray-token": ["auth_token"], "manylabel-dashboard-token": ["token"]}
    assert all(core_problems(secret) == [] for secret in secrets)
