"""Follows a job, and reads what it printed."""

import datetime
import os
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.jobs_api import JobsApi
from manylabel.pipeline.errors import CommandError, Interrupted
from manylabel.pipeline.submission.state import (
    JobFiles,
    Standing,
    ask_cluster,
    exit_code_of,
    judge_standing,
    read_job_files,
)
from manylabel.storage.errors import Transient
from manylabel.storage.jobs import (
    COMMAND_LOG,
    DIRECTORY,
    Attempt,
    JobStage,
    JobState,
    logs_path,
)
from manylabel.storage.watched_time import WatchedTime

POLL_SECONDS = 2.0
_GIVE_UP_SECONDS = 600.0
"""For which a cluster may not answer while it is followed: a head is restarted within minutes."""
_LONGEST_GAP_SECONDS = 60.0
"""Between two questions, each of which has time-outs of its own."""

Show = Callable[[str], None]


class JobLostError(CommandError, Transient):
    """A cluster went away with a job; what the job saved is there, and another `submit` goes on."""


def follow(api: JobsApi, place: Path, stage: JobStage, submission: str, show: Show) -> int:
    """Shows what a job prints until it is over; its exit code.

    What is printed is read at an offset, from its file where this machine sees the place. That
    reading fails, or ends, says nothing about the job.

    Raises:
        JobLostError: the cluster has not answered for ten minutes, or knows nothing of the job.
        Interrupted: the user follows it no longer; the job is at work all the same.
    """
    where = f"{shlex.quote(str(place))} --stage {stage}"
    try:
        return _follow(_Reader(api, place, stage, submission), show)
    except KeyboardInterrupt:
        raise Interrupted(
            f"the job goes on; manylabel logs {where} -f follows it again, manylabel stop {where} "
            "stops it"
        ) from None


def _follow(reader: "_Reader", show: Show) -> int:
    silent_since: float | None = None
    told = ""
    watched = WatchedTime(
        _LONGEST_GAP_SECONDS, time.monotonic
    )  # a laptop that slept has not asked meanwhile
    while True:
        watched()
        job, problem = ask_cluster(reader.api, reader.submission)
        reader.show_new(show)
        if job is not None and job.status.is_final:
            reader.show_new(show, is_over=True)
            if reader.attempt() is None and job.message:  # Ray failed it, not the command.
                show(job.message.strip().splitlines()[-1])
            return exit_code_of(job)
        if not problem and job is None:
            return _forgotten(reader)
        if problem:
            silent_since = watched() if silent_since is None else silent_since
            if problem != told:
                show(f"waiting for the cluster: {problem}")
            if watched() - silent_since > _GIVE_UP_SECONDS:
                raise JobLostError(
                    f"{problem}; the job may be at work all the same: manylabel status "
                    f"{shlex.quote(str(reader.place))}"
                )
        elif silent_since is not None:
            silent_since = None
            show("the cluster answers again")
        told = problem
        time.sleep(POLL_SECONDS)


def _forgotten(reader: "_Reader") -> int:
    """The exit code of a job that its cluster does not know any more.

    Raises:
        JobLostError: it had not ended.
    """
    attempt = reader.attempt()
    if attempt is not None and attempt.ended is not None and attempt.exit_code is not None:
        return attempt.exit_code if attempt.exit_code >= 0 else os.EX_TEMPFAIL
    raise JobLostError(
        f"{reader.submission}: the cluster does not know it any more, as after a restart; the same "
        "command goes on from what is saved"
    )


class _Reader:
    """What a job prints, at an offset: from its files where this machine sees them."""

    def __init__(self, api: JobsApi, place: Path, stage: JobStage, submission: str) -> None:
        self.api, self.place, self.stage, self.submission = api, place, stage, submission
        self._number = 0
        self._ended = 0
        self._offset = 0
        self._seen = 0

    def attempt(self) -> Attempt | None:
        """The newest of this submission; None where none is seen from here."""
        files = files_of(self.place, self.stage)
        found = (
            [each for each in files.attempts if each.submission == self.submission] if files else []
        )
        return found[-1] if found else None

    def show_new(self, show: Show, *, is_over: bool = False) -> None:
        """Whole lines that came since the last call; with `is_over` the rest as well."""
        files = files_of(self.place, self.stage)
        ours = (
            [each for each in files.attempts if each.submission == self.submission] if files else []
        )
        if not ours:
            if is_over or not self.place.is_dir():
                self._show_from_cluster(show, is_over=is_over)
            return
        for attempt in ours:
            if attempt.number >= self._number:
                self._show_file(show, attempt, is_over=is_over or attempt is not ours[-1])
            if attempt.number > self._ended and attempt.ended is not None:
                self._ended = attempt.number
                show(f"attempt ended: {attempt.reason}")  # and whether it is tried again

    def _show_file(self, show: Show, attempt: Attempt, *, is_over: bool) -> None:
        if attempt.number > self._number:
            self._number, self._offset = attempt.number, 0
            show(f"attempt {attempt.number}: manylabel {shlex.join(attempt.command)}")
        log = logs_path(self.place, self.stage, attempt.number) / COMMAND_LOG
        try:
            with log.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return  # storage that is away for a moment
        end = len(data) if is_over else data.rfind(b"\n") + 1
        self._offset += end
        for line in data[:end].decode("utf-8", "replace").splitlines():
            show(line)

    def _show_from_cluster(self, show: Show, *, is_over: bool) -> None:
        try:
            text = self.api.logs(self.submission)
        except ClusterError:
            return  # its node may be lost; the state is asked for elsewhere
        end = len(text) if is_over else text.rfind("\n") + 1
        for line in text[self._seen : end].splitlines():
            show(line)
        self._seen = max(self._seen, end)


def job_of(place: Path, stage: JobStage | None) -> JobFiles:
    """The job of a place that was heard of last, or the one of a stage.

    Raises:
        CommandError: there is none.
    """
    found = [each for each in read_job_files(place) if stage in (None, each.stage)]
    if not found:
        root = place if any(place.glob(f"*/{DIRECTORY}")) else place.parent
        what = "job" if stage is None else f"job of {stage}"
        raise CommandError(
            f"{place}: expected the directory of a run or a dataset with jobs/, found no {what} "
            f"there; manylabel jobs {shlex.quote(str(root))} lists them"
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
