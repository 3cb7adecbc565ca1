"""Ray's Jobs API over HTTP: https://docs.ray.io/en/latest/cluster/running-applications/job-submission/api.html

Ray has a client of its own, which loads Ray, waits for ever where nothing answers, and takes a
proxy to the loopback interface.
"""

import hashlib
import ipaddress
import os
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic import BaseModel, ConfigDict, ValidationError

from manylabel.cluster.errors import ClusterError, UnreachableClusterError
from manylabel.storage.errors import reason_of

DEFAULT_PORT = 8265
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""A head that starts a job's processes answers late; this is long for one that is alive."""

_EXAMPLE = f"http://HEAD:{DEFAULT_PORT}"
_TOKEN_ADVICE = (
    "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file that holds it, to the cluster's token"
)


_T = TypeVar("_T", bound=BaseModel)


class RayJobState(StrEnum):
    """As Ray names them; the last three are final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        """Whether nothing more comes."""
        return self not in (RayJobState.PENDING, RayJobState.RUNNING)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # later versions of Ray say more


class ClusterVersion(_Answer):
    """What a head says of itself.

    Attributes:
        ray_version: as 2.60.0; session_name: of this start of the cluster.
    """

    ray_version: str
    session_name: str = ""


class RayJob(_Answer):
    """A job of the cluster.

    Attributes:
        submission_id: None for a driver that joined by itself.
        message: what Ray says of its state, with the end of its log where it failed.
        driver_exit_code: of the entrypoint; None before its end, and where it was stopped.
        start_time, end_time: milliseconds since 1970.
    """

    submission_id: str | None = None
    status: RayJobState
    entrypoint: str = ""
    message: str | None = None
    error_type: str | None = None
    driver_exit_code: int | None = None
    metadata: dict[str, str] | None = None
    start_time: int | None = None
    end_time: int | None = None


class _Logs(_Answer):
    logs: str = ""


class Submission(BaseModel):
    """What is asked for.

    Attributes:
        entrypoint: a shell command.
        package: a zip file's bytes that becomes the job's current folder.
        variables: of the entrypoint's environment; Ray stores and shows them in clear text.
        cpus, gpus: that the entrypoint itself needs; with neither it runs on the head.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    submission_id: str
    entrypoint: str
    package: bytes | None = None
    variables: dict[str, str] = {}
    metadata: dict[str, str] = {}
    cpus: float = 0.0
    gpus: float = 0.0


class AlreadySubmittedError(ClusterError):
    """There is a job of that id."""


class JobsApi:
    """A cluster's Jobs API, with the token of this process's environment.

    Raises:
        ClusterError: of each method: nothing answers, something else does, or it refuses; one line.
    """

    def __init__(self, address: str) -> None:
        self.address = check_address(address)
        self._session = requests.Session()
        self._session.auth = _no_other_secrets
        if _is_loopback(self.address):
            self._session.trust_env = False  # a proxy has a loopback interface of its own

    def asks_for_token(self) -> bool:
        """Whether it refuses who brings none."""
        return self._ask("GET", "/api/version", token=None).status_code == 401

    def version(self) -> ClusterVersion:
        """Of the head."""
        return self._parsed(ClusterVersion, self._checked("GET", "/api/version"))

    def jobs(self) -> list[RayJob]:
        """All that the head remembers, oldest first."""
        answer = self._checked("GET", "/api/jobs/")
        found = [self._parsed(RayJob, job) for job in self._json(answer)]
        return sorted(found, key=lambda job: job.start_time or 0)

    def job(self, submission_id: str) -> RayJob | None:
        """One; None if the head knows of none."""
        answer = self._ask("GET", f"/api/jobs/{submission_id}", token=_token())
        if answer.status_code == 404:
            return None
        return self._parsed(RayJob, self._accepted(answer))

    def submit(self, submission: Submission) -> None:
        """Starts a job.

        Raises:
            AlreadySubmittedError: the id is taken.
        """
        runtime_env: dict[str, Any] = {"env_vars": submission.variables}
        if submission.package is not None:
            runtime_env["working_dir"] = self._upload(submission.package)
        answer = self._ask(
            "POST",
            "/api/jobs/",
            token=_token(),
            json={
                "entrypoint": submission.entrypoint,
                "submission_id": submission.submission_id,
                "runtime_env": runtime_env,
                "metadata": submission.metadata,
                "entrypoint_num_cpus": submission.cpus or None,
                "entrypoint_num_gpus": submission.gpus or None,
            },
        )
        if not answer.ok and "already exists" in answer.text:
            raise AlreadySubmittedError(f"{self.address}: {submission.submission_id} exists")
        self._accepted(answer)

    def stop(self, submission_id: str) -> None:
        """Asks a job to stop: SIGTERM to its processes, SIGKILL after RAY_JOB_STOP_WAIT_TIME_S."""
        self._checked("POST", f"/api/jobs/{submission_id}/stop")

    def delete(self, submission_id: str) -> None:
        """Forgets a job that is over."""
        self._checked("DELETE", f"/api/jobs/{submission_id}")

    def logs(self, submission_id: str) -> str:
        """All that the entrypoint has printed; empty while, or when, its node cannot be asked."""
        return self._parsed(_Logs, self._checked("GET", f"/api/jobs/{submission_id}/logs")).logs

    def _upload(self, package: bytes) -> str:
        name = f"_ray_pkg_{hashlib.sha256(package).hexdigest()[:16]}.zip"
        path = f"/api/packages/gcs/{name}"
        if self._ask("GET", path, token=_token()).status_code == 404:
            self._checked("PUT", path, data=package)
        return f"gcs://{name}"

    def _checked(self, method: str, path: str, **options: Any) -> requests.Response:
        return self._accepted(self._ask(method, path, token=_token(), **options))

    def _ask(
        self, method: str, path: str, *, token: str | None, **options: Any
    ) -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            return self._session.request(
                method,
                f"{self.address}{path}",
                headers=headers,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,  # it would carry the token elsewhere
                **options,
            )
        except requests.exceptions.ProxyError as error:
            raise UnreachableClusterError(
                f"{self.address}: the proxy of this environment does not lead there; set no_proxy="
                f"{urlsplit(self.address).hostname}"
            ) from error
        except requests.exceptions.SSLError as error:
            raise ClusterError(
                f"{self.address}: expected a server that speaks HTTPS, and that this machine "
                "trusts; a head speaks http:// unless a proxy is before it"
            ) from error
        except requests.exceptions.Timeout as error:
            is_silent = isinstance(error, requests.exceptions.ConnectTimeout)
            seconds = CONNECT_SECONDS if is_silent else ANSWER_SECONDS
            raise UnreachableClusterError(
                f"{self.address}: no answer within {seconds:g} s; {_address_advice()}"
            ) from error
        except requests.exceptions.RequestException as error:
            raise UnreachableClusterError(
                f"{self.address}: {_innermost(error)}; {_address_advice()}"
            ) from error

    def _accepted(self, answer: requests.Response) -> requests.Response:
        if answer.status_code in (401, 403):
            wrong = "has no token" if _token() is None else "has a token that is not the cluster's"
            raise ClusterError(f"{self.address}: this command {wrong}; {_TOKEN_ADVICE}")
        if not answer.ok:
            first = (answer.text.strip().splitlines() or [answer.reason])[-1]
            raise ClusterError(f"{self.address}: it answers {answer.status_code}: {first[:300]}")
        return answer

    def _parsed(self, kind: type[_T], answer: Any) -> _T:
        values = self._json(answer) if isinstance(answer, requests.Response) else answer
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            raise self._something_else() from error

    def _json(self, answer: requests.Response) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise self._something_else() from error

    def _something_else(self) -> ClusterError:
        return ClusterError(
            f"{self.address}: expected Ray's Jobs API, received something else; give the address "
            f"of the head's dashboard, as {_EXAMPLE}"
        )


def check_address(address: str) -> str:
    """The address of a Jobs API, without a slash at its end.

    Raises:
        ClusterError: it is none, or leads anywhere below the head.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:  # a bracket or a port that is none
        raise ClusterError(
            f"expected the address of a cluster's Jobs API, as {_EXAMPLE}, received {address}"
        ) from error
    fits = parts.scheme in ("http", "https") and parts.hostname and port
    if not fits or parts.path.strip("/") or parts.query or "@" in parts.netloc:
        raise ClusterError(
            f"expected the address of a cluster's Jobs API, as {_EXAMPLE}, received {address}"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _no_other_secrets(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """In place of what ~/.netrc has for the host, which would take the place of the token."""
    return request


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token() -> str | None:
    """As Ray looks for it, but for ~/.ray/auth_token, which another cluster may have left.

    Raises:
        ClusterError: it cannot be read, or is none.
    """
    where, token = "RAY_AUTH_TOKEN", os.environ.get("RAY_AUTH_TOKEN", "").strip()
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not token and path:
        where = f"RAY_AUTH_TOKEN_PATH={path}"
        try:
            token = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ClusterError(f"{where}: the token cannot be read: {reason_of(error)}") from error
    if token and not (token.isascii() and token.isprintable()):
        raise ClusterError(f"{where}: expected a token of one line of ASCII letters and digits")
    return token or None


def _innermost(error: BaseException) -> str:
    """Of requests' long chain, what the system said."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        inner = getattr(cause, "reason", None)
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__
    return type(error).__name__


def _address_advice() -> str:
    return f"is the cluster up, and is this the address of its head's dashboard, as {_EXAMPLE}?"
