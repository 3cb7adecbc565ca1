"""Stops a job of a place, wherever its cluster is."""

import datetime
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.jobs_api import JobsApi
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.submission.following import files_of, job_of
from manylabel.pipeline.submission.request import submission_prefix
from manylabel.pipeline.submission.state import View, ask_cluster, judge_standing, read_job_files
from manylabel.pipeline.submission.submit import STOP_SECONDS, unfinished
from manylabel.storage.jobs import JobStage, stop_now_path

Connect = Callable[[str], JobsApi]

_POLL_SECONDS = 0.5
_SECONDS_TO_KILL = 60.0


@dataclass(frozen=True)
class _AtWork:
    api: JobsApi
    stage: JobStage
    submission: str


def stop(
    place: Path,
    stage: JobStage | None,
    address: str | None,
    *,
    now: bool,
    show: Callable[[str], None],
    connect: Connect = JobsApi,
) -> View:
    """Stops the job at work, or waiting, in a place, and waits until it has saved.

    Args:
        stage: which; None: the one that there is.
        address: of its cluster; None: those that the place's records name.
        now: without a checkpoint.

    Raises:
        CommandError: none is at work, or several are; or it does not end.
        ClusterError: the cluster cannot be asked.
    """
    place = place.absolute()
    job = _at_work(place, stage, address, connect)
    if now:
        _leave_word(stop_now_path(place, job.stage), show)
    else:
        show("asked to stop; waits for the checkpoint (--now does not)")
    job.api.stop(job.submission)
    deadline = time.monotonic() + STOP_SECONDS + _SECONDS_TO_KILL
    while time.monotonic() < deadline:
        found, problem = ask_cluster(job.api, job.submission)
        if not problem and (found is None or found.status.is_final):
            when = datetime.datetime.now(datetime.UTC)
            return judge_standing(files_of(place, job.stage), found, "", when)
        time.sleep(_POLL_SECONDS)
    raise CommandError(
        f"{place}: still not ended; `manylabel stop {shlex.quote(str(place))} --now` kills it"
    )


def _leave_word(path: Path, show: Callable[[str], None]) -> None:
    """For the job's supervisor, that it kills the command."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        show(f"{path}: {error.strerror}; so it saves before it ends")


def _at_work(place: Path, stage: JobStage | None, address: str | None, connect: Connect) -> _AtWork:
    stages = list(JobStage) if stage is None else [stage]
    found = []
    away: ClusterError | None = None
    for each in [address] if address else _addresses(place):
        try:
            api = connect(each)
            jobs = [unfinished(api, submission_prefix(stage, str(place))) for stage in stages]
        except ClusterError as error:
            away = error
            continue
        for candidate, job in zip(stages, jobs, strict=True):
            if job is not None and job.submission_id is not None:
                found.append(_AtWork(api, candidate, job.submission_id))
    if len(found) > 1:
        names = ", ".join(f"--stage {each.stage}" for each in found)
        raise CommandError(f"{place}: several jobs are at work there; say which: {names}")
    if not found and away is not None:
        raise away
    if not found:
        raise CommandError(_none_at_work(place, stage, address))
    return found[0]


def _addresses(place: Path) -> list[str]:
    """Of the clusters that have had jobs of this place."""
    newest = [files.newest for files in read_job_files(place)]
    return sorted({each.address for each in newest if each is not None and each.address})


def _none_at_work(place: Path, stage: JobStage | None, address: str | None) -> str:
    if address is not None:
        return f"{place}: no job of it is at work on {address}"
    files = job_of(place, stage)
    if files.newest is not None and not files.newest.address:
        return (
            f"{place}: its {files.stage} was submitted to Kubernetes; `kubectl delete rayjob "
            f"{files.newest.submission}` lets it save and ends it"
        )
    if files.newest is None and files.status is not None:
        return (
            f"{place}: its {files.stage} was not submitted; press Ctrl-C where it runs, or send "
            f"SIGTERM to process {files.status.process} on {files.status.host}"
        )
    view = judge_standing(files, None, None, datetime.datetime.now(datetime.UTC))
    return f"{place}: no {files.stage} is at work ({view.why or view.standing})"
