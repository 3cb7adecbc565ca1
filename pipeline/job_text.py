"""A job's status in words."""

import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING

from manylabel.storage.jobs import JobStage, JobStatus

if TYPE_CHECKING:  # It loads the client of clusters.
    from manylabel.pipeline.submission.listing import ListedJob

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def _plain(text: str) -> str:
    """Without what would change the terminal: a status may be anybody's."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def job_lines(job: "ListedJob", now: datetime.datetime) -> Iterator[str]:
    """What `status` says of one job."""
    return map(_plain, _job_lines(job, now))


def _job_lines(job: "ListedJob", now: datetime.datetime) -> Iterator[str]:
    attempt = f", attempt {job.attempt}" if job.attempt else ""
    why = f": {job.view.why}" if job.view.why not in (None, str(job.view.standing)) else ""
    yield f"{job.stage}: {job.view.standing}{attempt}{why}"
    status = job.status
    if status is None:
        return
    yield f"  {status.doing or 'starting'}, {job_progress(status)}, {job_rate(status)} images/s"
    yield (
        f"  begun {age(job.began, now)} ago; last heard of {age(status.updated, now)} ago, from "
        f"process {status.process} on {status.host}; {job.gpu_seconds / 3600:.2f} GPU-hours"
    )
    for process in status.processes:
        gone = ", ended" if process.ended else ""
        gpus = f", {process.gpus:g} GPUs" if process.gpus else ""
        images = f": {process.images:,} images" if process.images else ""
        yield f"  {process.name:<20} on {process.node}{gpus}{images}{gone}"


def job_progress(status: JobStatus | None) -> str:
    """How far it is: updates and epochs of training, else a share."""
    if status is None:
        return "–"
    if status.stage is JobStage.TRAIN and status.step is not None:
        return f"step {status.step:,}, epoch {status.epoch or 0:.2f}"
    if status.total:
        return f"{status.done:,} of {status.total:,} {status.unit}"
    return f"{status.done:,} {status.unit}"


def job_rate(status: JobStatus | None) -> str:
    """Images a second."""
    rate = status.images_per_second if status else None
    return "–" if rate is None else f"{rate:,.1f}"


def age(since: datetime.datetime | None, now: datetime.datetime) -> str:
    """As 3 min, or 2 d."""
    if since is None:
        return "–"
    seconds = max(0, int((now - since).total_seconds()))
    unit, size = next((each for each in _UNITS if seconds >= each[1]), _UNITS[-1])
    return f"{seconds // size} {unit}"
