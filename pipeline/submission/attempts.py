"""What follows from the end of an attempt: a pure function of how it ended."""

import os
import signal
from dataclasses import dataclass

from manylabel.storage.jobs import JobState

_FIRST_WAIT_SECONDS = 5.0
"""A node that was lost is noticed, and its resources are taken off, a few seconds later."""
LONGEST_WAIT_SECONDS = 300.0
"""Between an attempt and the next."""


@dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    Attributes:
        exit_code: of its command, negative for the signal that ended it.
        told_to_stop: before it ended.
        last_line: the last error that it printed; "" if it printed none.
    """

    exit_code: int
    told_to_stop: bool
    last_line: str = ""


@dataclass(frozen=True)
class Verdict:
    """What an attempt's end means.

    Attributes:
        wait: seconds until the next attempt; None if there is none.
    """

    state: JobState
    reason: str
    wait: float | None = None


def judge(ending: Ending, retries: int, retried: int) -> Verdict:
    """Whether to try again.

    What is the user's to mend (exit code 2) or ours (1) would end the same way each time. What was
    lost (75), and a command that was killed, may not; each further try waits twice as long.

    Args:
        retries: how many there may be; retried: how many there were.
    """
    code = ending.exit_code
    if code == 0:
        return Verdict(JobState.DONE, "done")
    if ending.told_to_stop:
        return Verdict(JobState.STOPPED, ending.last_line or "stopped")
    how = ending.last_line or f"exit code {code}"
    if code == 130:
        return Verdict(JobState.STOPPED, how)
    if code < 0:
        how = f"its process was ended by {signal.Signals(-code).name}"
    elif code != os.EX_TEMPFAIL:
        return Verdict(JobState.FAILED, how)
    if retried >= retries:
        given_up = f"; given up after {retried} retries" if retried else ""
        return Verdict(JobState.FAILED, f"{how}{given_up}")
    wait = min(_FIRST_WAIT_SECONDS * 2**retried, LONGEST_WAIT_SECONDS)
    next_one = f"tried again in {wait:g} s ({retried + 1} of {retries})"
    return Verdict(JobState.FAILED, f"{how}; {next_one}", wait)
