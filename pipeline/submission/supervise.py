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
from manylabel.storage.errors import DocumentError, reason_of
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

_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""In which Ray tells what it starts whose job it is."""
_POLL_SECONDS = 0.5
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
_PR_SET_PDEATHSIG = 1  # prctl(2)
_TAIL_BYTES = 20_000
_SECONDS_TO_COPY = 10.0


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
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        with _signals(self._tell):
            for retried in range(self._request.retries + 1):
                try:
                    attempt, verdict = self._attempt(retried)
                except OSError as error:
                    if retried == 0:
                        raise  # the place is wrong; later it is away
                    print(f"another attempt cannot be begun: {reason_of(error)}", flush=True)
                    return os.EX_TEMPFAIL
                print(f"attempt ended: {verdict.reason}", flush=True)
                if verdict.wait is None:
                    break
                if self._told.wait(verdict.wait):
                    reason = f"stopped before another attempt; the last: {attempt.reason}"
                    self._keep(
                        attempt.model_copy(update={"state": JobState.STOPPED, "reason": reason})
                    )
                    return 130
        code = attempt.exit_code or 0
        return 128 - code if code < 0 else code

    def _tell(self) -> None:
        """Hands a signal to stop on. Ray has sent the command one as well; both are one request if
        they come within a second, so this is done at once."""
        self._told.set()
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)

    def _attempt(self, retried: int) -> tuple[Attempt, Verdict]:
        stage = self._request.stage
        number = max(attempt_numbers(self._place, stage), default=0) + 1
        attempt = Attempt(
            number=number,
            stage=stage,
            submission=_submission(),
            address=self._request.address,
            command=self._request.arguments,
            code_version=self._request.code_version,
            host=socket.gethostname(),
            started=_now(),
        )
        logs = logs_path(self._place, stage, number)
        logs.mkdir(parents=True, exist_ok=True)
        stop_now_path(self._place, stage).unlink(missing_ok=True)
        attempt.write(attempt_path(self._place, stage, number))
        print(f"attempt {number}: manylabel {' '.join(self._request.arguments)}", flush=True)
        with (logs / COMMAND_LOG).open("ab", buffering=0) as log:
            code = self._carry_out(log, logs)
        status = self._status_since(attempt.started)
        said = status.reason if status and status.reason else _last_error(logs / COMMAND_LOG)
        verdict = judge(Ending(code, self._told.is_set(), said), self._request.retries, retried)
        if status is not None and status.state is JobState.RUNNING:
            # It was killed, and could not say so itself.
            ended = {"state": verdict.state, "reason": verdict.reason, "gpus": 0.0}
            with suppress(OSError):
                status.model_copy(update=ended).write(status_path(self._place, stage))
        attempt = attempt.model_copy(
            update={
                "state": verdict.state,
                "reason": verdict.reason,
                "exit_code": code,
                "ended": _now(),
                "step": status.step if status else None,
                "gpu_seconds": status.gpu_seconds if status else 0.0,
            }
        )
        self._keep(attempt)
        return attempt, verdict

    def _keep(self, attempt: Attempt) -> None:
        """Writes the record. Storage that is away just now costs the record, not what follows."""
        try:
            attempt.write(attempt_path(self._place, self._request.stage, attempt.number))
        except OSError as error:
            print(
                f"the record of attempt {attempt.number} cannot be written: {reason_of(error)}",
                flush=True,
            )

    def _carry_out(self, log: BinaryIO, logs: Path) -> int:
        """Runs the command to its end; what it prints goes to its log and to ours."""
        path = os.pathsep.join(filter(None, (str(self._folder), os.environ.get("PYTHONPATH"))))
        now_path = stop_now_path(self._place, self._request.stage)
        with subprocess.Popen(
            # Without the current folder, but with what came along, in front of what is installed.
            [sys.executable, "-P", "-m", "manylabel", *self._request.arguments],
            cwd=self._folder,
            env={**os.environ, LOGS_VARIABLE: str(logs), "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,
        ) as child:
            self._child = child
            if self._told.is_set():  # before there was a command to hand it to
                child.send_signal(signal.SIGTERM)
            copier = threading.Thread(target=_copy, args=(child.stdout, log), daemon=True)
            copier.start()
            while True:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_POLL_SECONDS)
                    break
                with suppress(OSError):  # storage that is away for a moment
                    if now_path.exists():
                        self._told.set()
                        child.kill()
            # A process that it left behind may hold the pipe.
            copier.join(timeout=_SECONDS_TO_COPY)
        return child.returncode

    def _status_since(self, started: datetime.datetime) -> JobStatus | None:
        """The command's own words, unless they are of an attempt before."""
        try:
            status = JobStatus.read(status_path(self._place, self._request.stage))
        except (OSError, DocumentError):
            return None
        return None if status.started < started else status


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
            with suppress(OSError, ValueError):  # a full disk; nobody reads ours; its log is over
                target.write(data)
                target.flush()


def _last_error(log: Path) -> str:
    """The last error that the command told its user, where it came to no status of its own."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
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
