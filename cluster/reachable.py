"""Whether a Ray cluster answers at an address, asked before anything is made for it.

Ray itself looks for minutes for a cluster that is not there, and says little about why.
"""

import json
import os
import platform
import socket
import threading
from typing import NoReturn
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]  # Ray brings it
import ray
from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY
from ray._private import ray_constants, services
from ray._private.grpc_utils import init_grpc_channel
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

from manylabel.cluster.errors import ClusterError, UnreachableClusterError
from manylabel.storage.errors import reason_of

# In all below the ten seconds that somebody waits before pressing Ctrl-C.
_SECONDS_TO_RESOLVE = 4.0
_SECONDS_TO_CONNECT = 2.5
_SECONDS_TO_ANSWER = 2.5
_NOBODY_LISTENS = "check the address (host:6379, or `auto` on a node of the cluster)"


def own_cluster() -> str | None:
    """The address of the cluster that this process runs on as a job, None outside a job.

    A RAY_ADDRESS alone, as a shell may have it for another purpose, says nothing.
    """
    if RAY_JOB_CONFIG_JSON_ENV_VAR not in os.environ:
        return None
    return os.environ.get(ray_constants.RAY_ADDRESS_ENVIRONMENT_VARIABLE)


def check_reachable(address: str | None) -> None:
    """Asks the cluster at `address` for its version, and this machine for a node of it.

    Args:
        address: as for `ray_cluster`; None asks the cluster that this process is a job of, and
            outside a job nothing.

    Raises:
        ClusterError: it cannot be joined from here; known within ten seconds;
            UnreachableClusterError if the cluster that this process is a job of does not answer.
    """
    own = own_cluster()
    address = address or own
    if address is None:
        return
    try:
        host, port = _parsed(address)
        _await_name(host, port)
        _connect(host, port)
        _ask(address, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except _Silent as silent:
        kind = ClusterError if own is None else UnreachableClusterError
        raise kind(f"{_cannot(address)}: {silent}; {_NOBODY_LISTENS}") from silent


class _Silent(Exception):
    """Nothing answers; the text says how that was found."""


def _cannot(address: str) -> str:
    return f"the Ray cluster at {address} could not be joined"


def _parsed(address: str) -> tuple[str, int]:
    if address == "auto":
        try:
            address = services.canonicalize_bootstrap_address_or_die(address)
        except ConnectionError as error:
            raise ClusterError(
                f"{_cannot(address)}: no node of a Ray cluster runs on this machine, or several "
                "do; give the address of the head, as host:6379"
            ) from error
    if "://" in address:
        host = urlsplit(address).hostname or "host"
        raise ClusterError(
            f"{_cannot(address)}: expected host:port of Ray itself, received the URL of another "
            f"service of it; give {host}:6379 on a node of the cluster, or hand the work to its "
            "Jobs API by `manylabel submit`"
        )
    host, _, digits = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not digits.isdecimal() or not 0 < int(digits) < 65536:
        raise ClusterError(
            f"{_cannot(address)}: expected host:port, such as {address.partition(':')[0]}:6379"
        )
    return host, int(digits)


def _await_name(host: str, port: int) -> None:
    """In a thread, because a resolver whose server does not answer takes half a minute."""
    problems: list[OSError] = []

    def resolve() -> None:
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            problems.append(error)

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(_SECONDS_TO_RESOLVE)
    if thread.is_alive():
        raise _Silent(f"the name {host} was not resolved in {_SECONDS_TO_RESOLVE:g} s")
    if problems:
        raise _Silent(f"the name {host} does not resolve ({problems[0].strerror})")


def _connect(host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), _SECONDS_TO_CONNECT).close()
    except TimeoutError as error:
        raise _Silent(f"port {port} did not answer in {_SECONDS_TO_CONNECT:g} s") from error
    except OSError as error:
        reason = (error.strerror or reason_of(error)).lower()
        raise _Silent(f"port {port} cannot be reached ({reason})") from error


def _ask(address: str, target: str) -> None:
    try:
        # A proxy of the environment is for the web, never for a cluster.
        channel = init_grpc_channel(target, [("grpc.enable_http_proxy", 0)])
    except (OSError, RuntimeError, ValueError) as error:  # a token or certificate that is not there
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(f"{_cannot(address)}: {reason}") from error
    try:
        values = gcs_service_pb2_grpc.InternalKVGcsServiceStub(channel)
        request = gcs_service_pb2.InternalKVGetRequest(
            key=CLUSTER_METADATA_KEY, namespace=ray_constants.KV_NAMESPACE_CLUSTER
        )
        stored = values.InternalKVGet(request, timeout=_SECONDS_TO_ANSWER).value
        if stored:
            _check_versions(address, json.loads(stored))
        nodes = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel).GetAllNodeInfo(
            gcs_service_pb2.GetAllNodeInfoRequest(), timeout=_SECONDS_TO_ANSWER
        )
        _check_node(address, {node.node_id.hex() for node in nodes.node_info_list})
    except grpc.RpcError as error:
        _refuse(address, error)
    except RuntimeError as error:  # of Ray, which finds no token where it was told to use one
        raise ClusterError(f"{_cannot(address)}: {reason_of(error)}") from error
    finally:
        channel.close()


def _check_versions(address: str, theirs: dict[str, str]) -> None:
    here = {"Ray": ray.__version__, "Python": platform.python_version()}
    there = {"Ray": theirs.get("ray_version"), "Python": theirs.get("python_version")}
    for name, version in here.items():
        if there[name] != version:
            raise ClusterError(
                f"{_cannot(address)}: it runs {name} {there[name]}, this machine {version}; "
                "install the same versions on every machine"
            )


def _check_node(address: str, nodes: set[str]) -> None:
    """A driver works through the node on its machine; Ray waits a minute for one to appear."""
    if nodes.isdisjoint(services.find_node_ids()):
        raise ClusterError(
            f"{_cannot(address)}: this machine is no node of it; run the command on a node, start "
            f"one here by `ray start --address={address}`, or hand the work to the cluster by "
            "`manylabel submit`"
        )


def _refuse(address: str, error: grpc.RpcError) -> NoReturn:
    code, details = error.code(), (error.details() or "").splitlines()
    reason = details[0] if details else code.name
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        has_one = os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
        problem = "it refuses this machine's token" if has_one else "it asks for a token"
        raise ClusterError(
            f"{_cannot(address)}: {problem}; set RAY_AUTH_MODE=token and the cluster's "
            "RAY_AUTH_TOKEN on this machine"
        ) from error
    if code is grpc.StatusCode.UNAVAILABLE and "http" not in reason.lower():
        raise _Silent(f"it closed the connection ({reason})") from error
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        raise _Silent(f"no answer of Ray's in {_SECONDS_TO_ANSWER:g} s") from error
    raise ClusterError(
        f"{_cannot(address)}: what answers there is not the head of a Ray cluster; its port "
        "is 6379 unless `ray start --port` said otherwise (8265 is of the dashboard)"
    ) from error
