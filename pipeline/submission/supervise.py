"""The entrypoint of a job on a cluster: carries out the local command, again where it was lost.

Its records, and what each process prints, are files of the job's place, so they outlive the
cluster. Who stops the job sends SIGTERM to this process and to the command's; the latter saves.
"""

import ctypes
import datetime
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from manylabel.pipeline.submission.attempts import Ending, Verdict, judge
from manylabel.pipeline.submission.request import REQUEST, JobRequest
from manylabel.storage.errors import DocumentError
from manylabel.storage.jobs import (
    COMMAND_LOG,
    LOGS_VARIABLE,
    Attempt,
    JobState,
    JobStatus,
    attempt_numbers,
    attempt_path,
    logs_path,
    status_path,
    stop_now_path,
)
from manylabel.storage.provenance import code_version

_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""In which Ray tells what it starts whose job it is."""
_POLL_SECONDS = 0.5
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
_PR_SET_PDEATHSIG = 1  # prctl(2)
_TAIL_BYTES = 20_000


def supervise(folder: Path) -> int:
    """Carries out the request in a folder; the exit code of the command's last attempt, 128 and
    more where a signal ended it, as a shell has it.

    Raises:
        DocumentError: the request is of another version.
        OSError: the job's place cannot be written to.
    """
    request = JobRequest.read(folder / REQUEST)
    return _Supervisor(request, folder).run()


class _Supervisor:
    def __init__(self, request: JobRequest, folder: Path) -> None:
        self._request, self._folder = request, folder
        self._place = Path(request.place)
        self._told = threading.Event()
        self._now_path = stop_now_path(self._place, request.stage)

    def run(self) -> int:
        with _signals(self._told.set):
            for retried in range(self._request.retries + 1):
                code, verdict = self._attempt(retried)
                print(f"attempt ended: {verdict.reason}", flush=True)
                if verdict.wait is None or self._told.wait(verdict.wait):
                    break
        return 128 - code if code < 0 else code

    def _attempt(self, retried: int) -> tuple[int, Verdict]:
        stage = self._request.stage
        number = max(attempt_numbers(self._place, stage), default=0) + 1
        attempt = Attempt(
            number=number,
            stage=stage,
            submission=_submission(),
            address=self._request.address,
            command=self._request.arguments,
            code_version=code_version(),
            host=socket.gethostname(),
            started=_now(),
        )
        logs = logs_path(self._place, stage, number)
        logs.mkdir(parents=True, exist_ok=True)
        self._now_path.unlink(missing_ok=True)
        attempt.write(attempt_path(self._place, stage, number))
        print(f"attempt {number}: manylabel {' '.join(self._request.arguments)}", flush=True)
        with (logs / COMMAND_LOG).open("ab") as log:
            code = self._carry_out(log, logs)
        ending = Ending(code, self._told.is_set(), _last_error(logs / COMMAND_LOG))
        verdict = judge(ending, self._request.retries, retried)
        status = self._status_since(attempt.started)
        ended = attempt.model_copy(
            update={
                "state": verdict.state,
                "reason": verdict.reason,
                "exit_code": code,
                "ended": _now(),
                "step": status.step if status else None,
                "gpu_seconds": status.gpu_seconds if status else 0.0,
            }
        )
        ended.write(attempt_path(self._place, stage, number))
        return code, verdict

    def _carry_out(self, log: BinaryIO, logs: Path) -> int:
        """Runs the command to its end; what it prints goes to its log and to ours."""
        path = os.pathsep.join(filter(None, (str(self._folder), os.environ.get("PYTHONPATH"))))
        child = subprocess.Popen(
            # Without the current folder, but with what came along, in front of what is installed.
            [sys.executable, "-P", "-m", "manylabel", *self._request.arguments],
            cwd=self._folder,
            env={**os.environ, LOGS_VARIABLE: str(logs), "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,
        )
        copier = threading.Thread(target=_copy, args=(child.stdout, log), daemon=True)
        copier.start()
        forwarded = False
        while True:
            with suppress(subprocess.TimeoutExpired):
                child.wait(_POLL_SECONDS)
                break
            if self._told.is_set() and not forwarded:
                # Ray has sent it one as well; within a second both are one request.
                child.send_signal(signal.SIGTERM)
                forwarded = True
            if self._now_path.exists():
                self._told.set()
                child.kill()
        copier.join(timeout=10)  # a process that it left behind may hold the pipe
        return child.returncode

    def _status_since(self, started: datetime.datetime) -> JobStatus | None:
        """The command's own words, unless they are of an attempt before."""
        try:
            status = JobStatus.read(status_path(self._place, self._request.stage))
        except (OSError, DocumentError):
            return None
        if status.started < started:
            return None
        if status.state is JobState.RUNNING:  # it was killed, and could not say so itself
            status = status.model_copy(
                update={"state": JobState.FAILED, "reason": "its process was ended"}
            )
            with suppress(OSError):
                status.write(status_path(self._place, self._request.stage))
        return status


def _submission() -> str:
    """The job's id in the Jobs API; "" outside of one."""
    try:
        job = json.loads(os.environ[_JOB_VARIABLE])
        return str(job["metadata"]["job_submission_id"])
    except (KeyError, TypeError, ValueError):
        return ""


def _copy(source: BinaryIO, log: BinaryIO) -> None:
    while data := source.read1(1 << 16):  # type: ignore[attr-defined]
        for target in (log, sys.stdout.buffer):
            with suppress(OSError):  # a full disk; nobody reads ours any more
                target.write(data)
                target.flush()


def _last_error(log: Path) -> str:
    """The last line of an error that the command told its user."""
    try:
        text = log.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("error:", "internal error:"))]
    if errors:
        return errors[-1].removeprefix("error:").strip()
    return lines[-1] if lines and lines[-1].startswith("stopped") else ""


def _die_with_parent() -> None:
    """In the child, before it becomes the command: Ray kills what it knows of, which is us."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _signals(told: Callable[[], None]) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        told()

    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
