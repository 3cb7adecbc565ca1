"""What an API server would say of a manifest, without one."""

import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import celpy
import jsonschema
import kubernetes_validate
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
_VARIABLE = "MANYLABEL_KUBERAY_CRDS"
_BESIDE = REPOSITORY.parent / "shared" / "data" / "kuberay"

# Volumes that Pod Security's level "restricted" allows.
_RESTRICTED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"),
    *("projected", "secret"),
}
_INT32 = 2**31


def custom_resource_problems(manifest: Mapping[str, Any]) -> list[str]:
    """Of a custom resource of KubeRay: its schema, without any unknown field, and its CEL rules."""
    schema = _schema(manifest["kind"], manifest["apiVersion"].partition("/")[2])
    found = [
        f"{error.json_path}: {error.message}"
        for error in jsonschema.Draft202012Validator(_strict(schema)).iter_errors(manifest)
    ]
    return found + list(_broken_rules(schema, manifest, "$"))


def core_problems(manifest: Mapping[str, Any]) -> list[str]:
    """Of a kind that Kubernetes has itself."""
    try:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


def pod_of(template: Mapping[str, Any]) -> dict[str, Any]:
    """A pod template as a pod of its own, for `core_problems`."""
    metadata = {"name": "pod", **template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def restriction_problems(spec: Mapping[str, Any]) -> list[str]:
    """Of a pod, by Pod Security's level "restricted" and our own: a root that is read only, no
    token of the service account."""
    pod = spec.get("securityContext", {})
    found = [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    found += [
        f"volume {volume['name']}"
        for volume in spec["volumes"]
        if not set(volume) - {"name"} <= _RESTRICTED_VOLUMES
    ]
    if pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
        found.append("seccompProfile")
    if pod.get("runAsNonRoot") is not True or not pod.get("runAsUser"):
        found.append("runAsNonRoot")
    if spec.get("automountServiceAccountToken") is not False:
        found.append("automountServiceAccountToken")
    for container in spec["containers"]:
        own = container.get("securityContext", {})
        expected = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        }
        found += [key for key, value in expected.items() if own.get(key) != value]
        found += [key for key in own if key not in expected]
    return found


def _definitions() -> Path:
    named = os.environ.get(_VARIABLE)
    folder = Path(named) if named else _BESIDE
    if not folder.is_dir():
        pytest.skip(
            f"KubeRay's definitions are not at {folder}; name their folder by {_VARIABLE} "
            "(github.com/ray-project/kuberay, ray-operator/config/crd/bases)"
        )
    return folder


@cache
def _schema(kind: str, version: str) -> dict[str, Any]:
    for file in sorted(_definitions().rglob(f"ray.io_{kind.lower()}s.yaml")):
        with file.open("rb") as stream:
            definition = yaml.load(stream, yaml.CSafeLoader)
        for served in definition["spec"]["versions"]:
            if served["name"] == version:
                return served["schema"]["openAPIV3Schema"]
    raise LookupError(f"no definition of {kind} {version}")


def _strict(schema: Any) -> Any:
    """The schema in which a field that it does not name is an error, as is too large a number."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    strict = {key: _strict(part) for key, part in schema.items()}
    if strict.get("format") == "int32":
        strict = {"minimum": -_INT32, "maximum": _INT32 - 1, **strict}
    # Below "properties" each key is a field's name; only a schema has "type: object".
    if (
        strict.get("type") == "object"
        and isinstance(strict.get("properties"), Mapping)
        and not strict.get("x-kubernetes-preserve-unknown-fields")
    ):
        strict["additionalProperties"] = False
    return strict


def _broken_rules(schema: Mapping[str, Any], value: Any, place: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"]:
            continue  # It is about changes; what is new has nothing to compare with.
        environment = celpy.Environment()
        program = environment.program(environment.compile(rule["rule"]))
        if not program.evaluate({"self": celpy.json_to_cel(value)}):
            yield f"{place}: {rule['message']}"
    if isinstance(value, Mapping):
        named = schema.get("properties", {})
        other = schema.get("additionalProperties")
        for key, part in value.items():
            below = named.get(key, other)
            if isinstance(below, Mapping):
                yield from _broken_rules(below, part, f"{place}.{key}")
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for index, part in enumerate(value):
            yield from _broken_rules(schema["items"], part, f"{place}[{index}]")
