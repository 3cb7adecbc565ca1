"""Follows a job, stops it, and reads what it printed."""

import datetime
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.jobs_api import JobsApi
from manylabel.pipeline.errors import CommandError, Interrupted
from manylabel.pipeline.submission.state import (
    JobFiles,
    Standing,
    View,
    ask_cluster,
    exit_code_of,
    judge_standing,
    read_job_files,
)
from manylabel.pipeline.submission.submit import STOP_SECONDS
from manylabel.storage.errors import Transient
from manylabel.storage.jobs import (
    COMMAND_LOG,
    JobStage,
    JobState,
    logs_path,
    stop_now_path,
)

POLL_SECONDS = 2.0
_GIVE_UP_SECONDS = 600.0
"""For which a cluster may not answer while it is followed: a head is restarted within minutes."""

Show = Callable[[str], None]


class JobLostError(CommandError, Transient):
    """A cluster went away with a job; what the job saved is there, and another `submit` goes on."""


def follow(api: JobsApi, place: Path, stage: JobStage, submission: str, show: Show) -> int:
    """Shows what a job prints until it is over; its exit code.

    What is printed is read at an offset, from its file where this machine sees the place; that
    reading fails or ends says nothing about the job.

    Raises:
        JobLostError: the cluster has not answered for ten minutes, or knows nothing of the job.
        Interrupted: the user follows it no longer; the job is at work all the same.
    """
    try:
        return _follow(_Reader(api, place, stage, submission), show)
    except KeyboardInterrupt:
        raise Interrupted(
            f"the job goes on; manylabel logs {place} -f follows it again, manylabel stop {place} "
            "stops it"
        ) from None


def _follow(reader: "_Reader", show: Show) -> int:
    api, place, stage, submission = reader.api, reader.place, reader.stage, reader.submission
    silent_since: float | None = None
    told = ""
    while True:
        job, problem = ask_cluster(api, submission)
        reader.show_new(show)
        if job is not None and job.status.is_final:
            reader.show_new(show)
            return exit_code_of(job)
        if not problem and job is None:
            view = judge_standing(files_of(place, stage), None, "", _now())
            raise JobLostError(f"{submission}: {view.why or view.standing}")
        if problem:
            silent_since = silent_since or time.monotonic()
            if problem != told:
                show(f"waiting for the cluster: {problem}")
            if time.monotonic() - silent_since > _GIVE_UP_SECONDS:
                raise JobLostError(
                    f"{problem}; the job may be at work all the same: manylabel status {place}"
                )
        elif silent_since is not None:
            silent_since = None
            show("the cluster answers again")
        told = problem
        time.sleep(POLL_SECONDS)


class _Reader:
    """New lines of what a job prints."""

    def __init__(self, api: JobsApi, place: Path, stage: JobStage, submission: str) -> None:
        self.api, self.place, self.stage, self.submission = api, place, stage, submission
        self._seen = 0

    def show_new(self, show: Show) -> None:
        """What came since the last call, whole lines."""
        try:
            text = self.api.logs(self.submission)
        except ClusterError:
            return  # its node may be lost; the state is asked for elsewhere
        end = text.rfind("\n") + 1
        if end > self._seen:
            for line in text[self._seen : end].splitlines():
                show(line)
            self._seen = end


def stop(
    place: Path, stage: JobStage | None, api: JobsApi | None, *, now: bool, show: Show
) -> View:
    """Stops the job of a place, and waits until it has saved.

    Raises:
        CommandError: none is at work; or it does not end.
        ClusterError: the cluster cannot be asked.
    """
    files = job_of(place, stage)
    attempt = files.attempts[-1] if files.attempts else None
    if attempt is None:
        raise CommandError(
            f"{place}: its {files.stage} was not submitted; press Ctrl-C where it runs, or send "
            f"SIGTERM to process {files.status.process if files.status else '?'} there"
        )
    api = api or JobsApi(attempt.address)
    job, problem = ask_cluster(api, attempt.submission)
    if problem:
        raise ClusterError(problem)
    if job is None or job.status.is_final:
        view = judge_standing(files, job, "", _now())
        raise CommandError(f"{place}: no {files.stage} is at work ({view.why or view.standing})")
    if now:
        stop_now_path(place, files.stage).touch()
    else:
        show("asked to stop; waits for the checkpoint (--now does not)")
    api.stop(attempt.submission)
    deadline = time.monotonic() + STOP_SECONDS + 60
    while time.monotonic() < deadline:
        job, problem = ask_cluster(api, attempt.submission)
        files = job_of(place, files.stage)
        if job is None or job.status.is_final:
            return judge_standing(files, job, problem, _now())
        time.sleep(0.5)
    raise CommandError(f"{place}: still not ended; `manylabel stop {place} --now` kills it")


def job_of(place: Path, stage: JobStage | None) -> JobFiles:
    """The job of a place that was heard of last, or the one of a stage.

    Raises:
        CommandError: there is none.
    """
    found = [each for each in read_job_files(place) if stage in (None, each.stage)]
    if not found:
        what = "job" if stage is None else f"job of {stage}"
        raise CommandError(
            f"{place}: expected the directory of a run or a dataset with jobs/, found no {what} "
            "there; manylabel jobs lists them"
        )
    return found[-1]


def files_of(place: Path, stage: JobStage) -> JobFiles | None:
    """What there is of a stage; None where the place cannot be seen, or has none."""
    return next((each for each in read_job_files(place) if each.stage is stage), None)


def log_files(place: Path, stage: JobStage, attempt: int | None) -> tuple[int, list[Path]]:
    """The newest attempt, or the one asked for, and its logs, the command's own first.

    Raises:
        CommandError: there are none.
    """
    files = job_of(place, stage)
    numbers = [each.number for each in files.attempts]
    if not numbers or (attempt is not None and attempt not in numbers):
        had = (
            f"attempts {numbers[0]} to {numbers[-1]}"
            if numbers
            else "none, as it was not submitted"
        )
        raise CommandError(f"{place}: expected an attempt of {stage}, there are {had}")
    number = attempt or numbers[-1]
    logs = sorted(logs_path(place, stage, number).glob("*.log"), key=_command_first)
    return number, logs


def read_log(
    place: Path, stage: JobStage, number: int, log: Path, *, is_followed: bool
) -> Iterator[str]:
    """Lines of a log; with `is_followed` also those to come, until its attempt ends."""
    with log.open("r", encoding="utf-8", errors="replace") as file:
        while True:
            over = not is_followed or _is_over(place, stage, number)
            yield from file
            if over:
                return
            time.sleep(POLL_SECONDS / 4)


def _is_over(place: Path, stage: JobStage, number: int) -> bool:
    files = files_of(place, stage)
    if files is None:
        return True
    attempt = next((each for each in files.attempts if each.number == number), None)
    if attempt is None or attempt.state is not JobState.RUNNING:
        return True
    return judge_standing(files, None, None, _now()).standing is Standing.LOST


def _command_first(log: Path) -> tuple[bool, str]:
    return log.name != COMMAND_LOG, log.name


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
