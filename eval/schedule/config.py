"""The settings file of a root's schedules, schedules.yaml."""

import difflib
import re
import shlex
import zoneinfo
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from manylabel.eval.config import EvalConfig
from manylabel.eval.errors import EvaluationError
from manylabel.eval.schedule.cluster import EXAMPLE_ADDRESS, EvaluationCluster, jobs_api_address
from manylabel.eval.schedule.durations import Duration
from manylabel.storage.errors import reason_of
from manylabel.storage.problems import problems, shown
from manylabel.storage.settings import SettingsSection
from manylabel.storage.yaml_text import YamlError, parse_yaml

SETTINGS = "schedules.yaml"
NEW_CHECKPOINT = "new_checkpoint"

_EXAMPLE = 'schedules: {nightly: {when: "0 2 * * *"}}'
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CRON_FIELDS = 5  # minute, hour, day of the month, month, day of the week
_CRON_ONLY = ("timezone", "steps", "overlap", "deadline")


class Steps(StrEnum):
    """Which checkpoints of a run a cron line's fire evaluates, of those there are then.

    NEWEST: the last one.
    ALL: every one; those that have an evaluation already cost nothing.
    BEST: the one with the best headline by the run's own settings; of use with `overrides`.
    """

    NEWEST = "newest"
    ALL = "all"
    BEST = "best"


class Overlap(StrEnum):
    """What becomes of a time of a cron line that comes while the fire before it is at work.

    SKIP: nothing; its record says so.
    QUEUE: it waits.
    """

    SKIP = "skip"
    QUEUE = "queue"


class CatchUp(StrEnum):
    """What is made up for when nobody asked what is due for a while.

    LATEST: the newest of several due times, or new checkpoints; the others count as done with it.
    ALL: each of them.
    NONE: of a cron line, no time that is over by more than ten minutes.
    """

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


def _command(value: Any) -> Any:
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"expected a command, received {shown(value)}: {error}") from error
    if not words:
        raise ValueError(f"expected a command, received {shown(value)}; leave it out for none")
    if isinstance(words, list) and any("\0" in word for word in words if isinstance(word, str)):
        raise ValueError(
            f"expected a command, received {shown(value)}: no program can be given a NUL; remove it"
        )
    return words


def _schedule_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            "expected a name of letters, digits, - and _, at most 64, that begins with a letter or "
            "digit, as files are named after it; rename the schedule"
        )
    return value


Command = Annotated[tuple[str, ...], BeforeValidator(_command)]


class ScheduleConfig(SettingsSection):
    """One schedule."""

    when: str = Field(
        description='A cron line of five fields, e.g. "0 2 * * *" (daylight saving as in Debian\'s '
        "cron: a fixed time runs once each day), or new_checkpoint: each checkpoint once."
    )
    timezone: str = Field(
        "UTC", description="Whose clock the cron line means, e.g. Europe/Paris; cron lines only."
    )
    runs: str = Field(
        "*", min_length=1, description="Runs directly below the root, as a glob of their names."
    )
    steps: Steps = Field(
        Steps.NEWEST, description="newest | all | best checkpoint of each run; cron lines only."
    )
    overlap: Overlap = Field(
        Overlap.SKIP,
        description="skip | queue: what a due time does while the fire before it is at work; cron "
        "lines only.",
    )
    catch_up: CatchUp = Field(
        CatchUp.LATEST,
        description="latest | all | none: what is made up for after a pause; all by default with "
        "new_checkpoint, which has no none.",
    )
    deadline: Duration = Field(
        timedelta(hours=6),
        description="A fire that cannot start so long after its time is missed; cron lines only. "
        "6 h: a nightly evaluation still comes before the working day is over.",
    )
    at_least_every: int | None = Field(
        None,
        ge=1,
        description="Updates between evaluated checkpoints of a run, at least; without it, each "
        "checkpoint is evaluated. With new_checkpoint only.",
    )
    retries: int = Field(
        3,
        ge=0,
        le=10,
        description="Times that a fire is tried again after it failed or its process died; 5, 10, "
        "20 … minutes after a failure. Then it is given up.",
    )
    on_failure: Command | None = Field(
        None, description="Command, without a shell, for a fire that is given up."
    )
    on_worse: Command | None = Field(
        None,
        description="Command, without a shell, for a checkpoint that is shown worse than the "
        "champion.",
    )
    overrides: tuple[str, ...] = Field(
        (), description="eval.key=value on top of the run's own settings, as with evaluate --set."
    )

    @property
    def is_cron(self) -> bool:
        """Whether times decide, and not checkpoints."""
        return self.when != NEW_CHECKPOINT

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """Whose clock the cron line means."""
        return zoneinfo.ZoneInfo(self.timezone)

    @model_validator(mode="before")
    @classmethod
    def _every_new_checkpoint(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "when" not in values:
            raise ValueError(f'expected when: {NEW_CHECKPOINT}, or e.g. "0 2 * * *", received none')
        if isinstance(values, Mapping) and values["when"] == NEW_CHECKPOINT:
            return {"catch_up": CatchUp.ALL, **values}
        return values

    @field_validator("when")
    @classmethod
    def _known_times(cls, when: str) -> str:
        if when == NEW_CHECKPOINT:
            return when
        line = " ".join(when.split())
        expected = f'expected {NEW_CHECKPOINT} or a cron line such as "0 2 * * *"'
        if len(line.split()) != _CRON_FIELDS:
            raise ValueError(
                f"{expected}: minute, hour, day of the month, month and day of the week, received "
                f"{shown(when)}"
            )
        try:
            next(CronSim(line, datetime(2000, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise ValueError(f"{expected}, received {shown(when)}: {error}") from error
        except StopIteration as error:
            raise ValueError(f"{expected}, received {shown(when)}, which never comes") from error
        return line

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, timezone: str) -> str:
        try:
            zoneinfo.ZoneInfo(timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            close = difflib.get_close_matches(timezone, zoneinfo.available_timezones(), n=2)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ValueError(
                f"expected a time zone such as Europe/Paris, received {shown(timezone)}{hint}"
            ) from error
        return timezone

    @field_validator("overrides")
    @classmethod
    def _of_evaluation(cls, overrides: tuple[str, ...]) -> tuple[str, ...]:
        for override in overrides:
            key, separator, _ = override.partition("=")
            section, _, name = key.strip().partition(".")
            if not separator or section != "eval" or not name:
                raise ValueError(
                    f"expected eval.key=value, received {shown(override)}; the other settings are "
                    "the run's"
                )
            if (first := name.partition(".")[0]) not in EvalConfig.model_fields:
                raise ValueError(
                    f"{first} is no setting of eval, received {shown(override)}; expected one of "
                    f"{', '.join(EvalConfig.model_fields)}"
                )
        return overrides

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        if self.is_cron:
            if self.at_least_every is not None:
                raise ValueError(
                    f"at_least_every={self.at_least_every} is used with when: {NEW_CHECKPOINT} "
                    f"only, received when: {self.when}; remove one of them"
                )
            return self
        for name in _CRON_ONLY:
            if name in self.model_fields_set:
                raise ValueError(
                    f"{name} is used with a cron line only, received when: {NEW_CHECKPOINT}; "
                    f"remove {name}"
                )
        if self.catch_up is CatchUp.NONE:
            raise ValueError(
                f"catch_up: none is used with a cron line only, received when: {NEW_CHECKPOINT}; "
                "use latest or all"
            )
        return self


class Schedules(SettingsSection):
    """All schedules of a root.

    Where they evaluate is one setting for all: a cluster that sees one run of the root sees the
    others, and a machine that only looks what is due should need neither a GPU nor the memory.
    """

    address: Annotated[str, AfterValidator(jobs_api_address)] | None = Field(
        None,
        description=f"Of a Ray cluster's Jobs API, as {EXAMPLE_ADDRESS}: evaluations are submitted "
        "there; without it they are done by the process that looks what is due.",
    )
    trust_open: str | None = Field(
        None,
        min_length=1,
        description="Host of a cluster that asks for no token, to be used all the same.",
    )

    interval: Duration = Field(
        timedelta(minutes=1),
        description="How often `schedule serve` asks what is due: as often as cron does.",
    )
    schedules: dict[Annotated[str, AfterValidator(_schedule_name)], ScheduleConfig] = Field(
        description="By their names."
    )

    @property
    def cluster(self) -> EvaluationCluster | None:
        """That evaluates; None: this process does."""
        if self.address is None:
            return None
        return EvaluationCluster(self.address, self.trust_open)

    @model_validator(mode="after")
    def _trusts_what_it_uses(self) -> Self:
        host = None if self.address is None else urlsplit(self.address).hostname
        if self.trust_open is not None and self.trust_open != host:
            where = "no address" if host is None else f"address {self.address}"
            raise ValueError(
                f"trust_open={self.trust_open} names the host of address, received {where}; "
                f"{'remove it' if host is None else f'write {host}'}"
            )
        return self


def read_schedules(root: Path) -> Schedules:
    """The schedules of a root.

    Raises:
        EvaluationError: there is no file, or it is wrong; each line of the text is one problem.
    """
    path = root / SETTINGS
    try:
        tree = parse_yaml(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise EvaluationError(
            f"{path}: expected the settings of schedules, found none; write them, e.g. {_EXAMPLE}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}: cannot be read: {reason_of(error)}") from error
    except YamlError as error:
        raise EvaluationError(f"{path}: {error}") from error
    if not isinstance(tree, dict):
        raise EvaluationError(
            f"{path}: expected the section schedules, received {shown(tree)}; write it, e.g. "
            f"{_EXAMPLE}"
        )
    try:
        return Schedules.model_validate(tree)
    except ValidationError as error:
        found = problems(error, tree, Schedules)
        raise EvaluationError("\n".join(f"{path}: {problem}" for problem in found)) from error
