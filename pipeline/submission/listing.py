"""What jobs there are, below a folder of runs or on a cluster."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.jobs_api import JobsApi, RayJob
from manylabel.pipeline.submission.attempts import LONGEST_WAIT_SECONDS
from manylabel.pipeline.submission.following import files_of
from manylabel.pipeline.submission.request import request_of
from manylabel.pipeline.submission.state import (
    JobFiles,
    View,
    ask_cluster,
    judge_standing,
    read_job_files,
)
from manylabel.storage.jobs import DIRECTORY, Attempt, JobStage, JobState, JobStatus


@dataclass(frozen=True)
class ListedJob:
    """A job of a place.

    Attributes:
        attempt: its newest; 0 for a command that was not submitted, or not seen from here.
        status: in its own words, None if there are none.
        gpu_seconds: of all attempts.
        began: of the newest attempt.
    """

    place: str
    stage: JobStage
    view: View
    attempt: int
    status: JobStatus | None
    gpu_seconds: float
    began: datetime.datetime | None


def jobs_below(root: Path, now: datetime.datetime) -> list[ListedJob]:
    """Those of the runs and datasets directly below a folder, or of itself, newest last."""
    places = [path.parent for path in (*root.glob(DIRECTORY), *root.glob(f"*/{DIRECTORY}"))]
    silent: dict[str, str] = {}
    listed = [_asked(files, silent, now) for place in places for files in read_job_files(place)]
    return sorted(listed, key=lambda job: (job.began is not None, job.began))


def jobs_on(api: JobsApi, now: datetime.datetime) -> list[ListedJob]:
    """The newest submission of each stage and place that a cluster knows, newest last.

    Raises:
        ClusterError: it cannot be asked.
    """
    newest: dict[tuple[str, JobStage], RayJob] = {}
    for job in api.jobs():
        if (request := request_of(job.metadata)) is not None:
            newest[request.place, request.stage] = job
    return [_of_cluster(place, stage, job, now) for (place, stage), job in newest.items()]


def job_at(place: Path, stage: JobStage | None, now: datetime.datetime) -> list[ListedJob]:
    """Of each stage of a place, the one heard of last at the end."""
    silent: dict[str, str] = {}
    found = [files for files in read_job_files(place) if stage in (None, files.stage)]
    return [_asked(files, silent, now) for files in found]


def _asked(files: JobFiles, silent: dict[str, str], now: datetime.datetime) -> ListedJob:
    """With what its cluster says of the newest attempt, unless that has ended for good.

    Args:
        silent: why clusters could not be asked, by address: none is waited for twice.
    """
    attempt = files.newest
    if attempt is None or not attempt.address or _is_settled(attempt, now):
        return _listed(files, None, None, now)
    if attempt.address in silent:
        return _listed(files, None, silent[attempt.address], now)
    try:
        job, problem = ask_cluster(JobsApi(attempt.address), attempt.submission)
    except ClusterError as error:
        job, problem = None, str(error)
    if problem:
        silent[attempt.address] = problem
    return _listed(files, job, problem, now)


def _is_settled(attempt: Attempt, now: datetime.datetime) -> bool:
    if attempt.ended is None:
        return False
    is_waiting = now - attempt.ended < datetime.timedelta(seconds=LONGEST_WAIT_SECONDS)
    return attempt.state is not JobState.FAILED or not is_waiting


def _listed(
    files: JobFiles, job: RayJob | None, cluster: str | None, now: datetime.datetime
) -> ListedJob:
    attempt = files.newest
    began = attempt.started if attempt else files.status.started if files.status else None
    return ListedJob(
        place=str(files.place),
        stage=files.stage,
        view=judge_standing(files, job, cluster, now),
        attempt=attempt.number if attempt else 0,
        status=files.status,
        gpu_seconds=files.gpu_seconds,
        began=began,
    )


def _of_cluster(place: str, stage: JobStage, job: RayJob, now: datetime.datetime) -> ListedJob:
    files = files_of(Path(place), stage)
    if files is not None and files.attempts and files.attempts[-1].submission == job.submission_id:
        return _listed(files, job, "", now)
    began = None
    if job.start_time is not None:
        began = datetime.datetime.fromtimestamp(job.start_time / 1000, datetime.UTC)
    return ListedJob(place, stage, judge_standing(None, job, "", now), 0, None, 0.0, began)
