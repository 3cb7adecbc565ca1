"""Gives a job to a Ray cluster, once."""

import io
import re
import shlex
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from manylabel.cluster.check import check_cluster
from manylabel.cluster.jobs_api import AlreadySubmittedError, JobsApi, RayJob, Submission
from manylabel.pipeline.cluster_check import Finding, Kind, Severity, judge
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.submission.following import files_of
from manylabel.pipeline.submission.package import job_package
from manylabel.pipeline.submission.request import (
    REQUEST,
    JobRequest,
    differences,
    request_of,
)
from manylabel.storage.jobs import JobStage
from manylabel.trainer.config import TopologyConfig, TrainerConfig

STOP_SECONDS = 600
"""That Ray gives a job to save and stop, before it kills it; its own 3 s are none."""

ENTRYPOINT = ("python", "-m", "manylabel", "supervise", REQUEST)
_IN_ONE_PROCESS = (JobStage.EVALUATE, JobStage.EXPORT)
_RACES = 5


@dataclass(frozen=True)
class Submitted:
    """A job that a cluster has.

    Attributes:
        submission: its id in the Jobs API.
        found: it was there before, at work with the same settings.
        with_code: our code went with it.
    """

    request: JobRequest
    submission: str
    found: bool = False
    with_code: bool = False


@dataclass(frozen=True)
class Folders:
    """What the nodes must see of the file system.

    Attributes:
        shared: that all must write in; read: that all must have.
    """

    shared: tuple[str, ...] = ()
    read: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fit:
    """What a cluster that is fit for a job needs for it.

    Attributes:
        with_code: our code must go along.
        has_gpus: a node has any.
    """

    with_code: bool
    has_gpus: bool


class Submitter:
    """Gives one request to a cluster.

    Args:
        trusted: host of a cluster that is known to ask for no token, and may be used all the same.
        on_finding: told what speaks against the cluster but hinders nothing.
    """

    def __init__(
        self,
        request: JobRequest,
        folders: Folders,
        *,
        trusted: str | None = None,
        on_finding: Callable[[Finding], None] = lambda finding: None,
    ) -> None:
        self._request, self._folders, self._trusted = request, folders, trusted
        self._on_finding = on_finding
        self._api = JobsApi(request.address)

    def submit(self) -> Submitted:
        """Submits, or finds the job at work.

        Raises:
            ClusterError: the cluster cannot be asked, or refuses.
            CommandError: it is not fit for the job, or has one for this place with other settings.
        """
        self.check_door()
        if (found := self._at_work()) is not None:
            return found
        fit = self.check()
        for _ in range(_RACES):
            # Somebody else may submit the same during the check, or now: a job that is begun after
            # the number was chosen is found, or has that number.
            number = max(self._numbers(), default=0) + 1
            if (found := self._at_work()) is not None:
                return found
            with suppress(AlreadySubmittedError):
                return self._give(number, fit)
        raise CommandError(f"{self._request.place}: others submit the same; see manylabel jobs")

    def check(self) -> Fit:
        """Looks whether the cluster is fit for the job.

        Raises:
            CommandError: the cluster is not fit; a line for each reason.
        """
        self.check_door()
        facts = check_cluster(self._api, self._folders.shared, self._folders.read)
        findings = judge(facts, _wanted(self._request))
        if self._is_trusted:
            findings = [each for each in findings if each.kind not in _OPEN]
        problems = [each.line() for each in findings if each.severity is Severity.ERROR]
        if problems:
            raise CommandError("\n".join(problems))
        for finding in findings:
            if finding.kind is not Kind.NOT_INSTALLED:
                self._on_finding(finding)
        return Fit(
            with_code=any(each.kind is Kind.NOT_INSTALLED for each in findings),
            has_gpus=any(node.total.gpus >= 1 for node in facts.nodes),
        )

    @property
    def _is_trusted(self) -> bool:
        return self._trusted is not None and urlsplit(
            self._api.address
        ).hostname == self._trusted.lower().strip("[]")

    def check_door(self) -> None:
        """Before anything else is asked or sent.

        Raises:
            CommandError: whoever reaches the cluster runs code there.
        """
        if self._api.asks_for_token():
            self._api.version()
        elif not self._is_trusted:
            host = urlsplit(self._api.address).hostname
            raise CommandError(
                f"{self._api.address}: asks for no token, so whoever reaches it runs code there; "
                "start its nodes with RAY_AUTH_MODE=token and one RAY_AUTH_TOKEN "
                f"(docs/security.md), or say that you trust it: --trust-open {host}"
            )

    def submission(self, number: int, fit: Fit) -> Submission:
        """What the Jobs API is given."""
        return Submission(
            submission_id=f"{self._request.prefix}{number}",
            entrypoint=shlex.join(ENTRYPOINT),
            package=job_package(self._request, with_code=fit.with_code),
            variables={"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
            metadata=self._request.to_metadata(),
            # The other stages ask for room by themselves, for their workers and tasks.
            gpus=1.0 if fit.has_gpus and self._request.stage in _IN_ONE_PROCESS else 0.0,
        )

    def _give(self, number: int, fit: Fit) -> Submitted:
        self._api.submit(submission := self.submission(number, fit))
        return Submitted(self._request, submission.submission_id, with_code=fit.with_code)

    def _numbers(self) -> Iterator[int]:
        """That are taken: on this cluster, and on others before it."""
        files = files_of(Path(self._request.place), self._request.stage)
        names = [job.submission_id or "" for job in self._api.jobs()]
        names += [attempt.submission for attempt in files.attempts] if files else []
        for name in names:
            tail = re.fullmatch(re.escape(self._request.prefix) + r"(\d+)", name)
            if tail:
                yield int(tail[1])

    def _at_work(self) -> Submitted | None:
        job = unfinished(self._api, self._request.prefix)
        if job is None or job.submission_id is None:
            return None
        there = request_of(job.metadata)
        if there is None:
            raise CommandError(
                f"{self._request.place}: the job {job.submission_id}, of another version of "
                "manylabel, is at work there; wait for it, or stop it"
            )
        if differing := differences(there, self._request):
            raise CommandError(
                "\n".join(
                    [
                        f"{self._request.place}: a job with other settings is at work there "
                        f"({job.submission_id}); wait for it, or `manylabel stop "
                        f"{self._request.place}` first",
                        *differing,
                    ]
                )
            )
        return Submitted(there, job.submission_id, found=True)


_OPEN = (Kind.OPEN_CLUSTER, Kind.OPEN_AGENT)


def unfinished(api: JobsApi, prefix: str) -> RayJob | None:
    """The job at work, or waiting, whose id begins so; None if there is none."""
    jobs: Sequence[RayJob] = [
        job
        for job in api.jobs()
        if (job.submission_id or "").startswith(prefix) and not job.status.is_final
    ]
    return jobs[-1] if jobs else None


def _wanted(request: JobRequest) -> TopologyConfig | None:
    """The workers that there must be room for."""
    if request.stage is not JobStage.TRAIN or request.settings is None:
        return None
    return TrainerConfig.model_validate(request.settings["trainer"]).topology


def described(submission: Submission, request: JobRequest) -> str:
    """What would be submitted, for a reader."""
    size = len(submission.package or b"")
    with zipfile.ZipFile(io.BytesIO(submission.package or b"")) as archive:
        names = archive.namelist()
    files = [name for name in names if not name.startswith("manylabel")]
    code = len(names) - len(files)
    lines = [
        f"address     {request.address}",
        f"id          {submission.submission_id.removesuffix('0')}N",
        f"entrypoint  {submission.entrypoint}",
        f"command     manylabel {shlex.join(request.arguments)}",
        f"retries     {request.retries}",
        f"variables   {' '.join(f'{k}={v}' for k, v in submission.variables.items())}",
        f"travels     {size:,} bytes: {', '.join(files)}"
        + (f", and {code} files of our code" if code else ""),
    ]
    if request.settings is not None:
        lines += ["", yaml.safe_dump(request.settings, sort_keys=False).rstrip()]
    return "\n".join(lines)
