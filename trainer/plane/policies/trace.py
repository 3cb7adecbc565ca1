"""What a policy was told and decided, on disk: to be asked again, without the run."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TextIO, get_args

from pydantic import TypeAdapter

from manylabel.trainer.plane.policies.config import UpdateConfig
from manylabel.trainer.plane.policies.events import Decision, Event, UpdatePolicy

FOLDER = "updates"
FORMAT_VERSION = 1

_KINDS = {kind.__name__: kind for kind in (*get_args(Event), *get_args(Decision))}
_CONFIG: TypeAdapter[UpdateConfig] = TypeAdapter(UpdateConfig)


class Recorded:
    """A policy whose every decision is written down as it is made.

    A line each: first what makes the policy, then an event and the decisions on it.

    Args:
        path: of the trace. If there is a file of that name, from an earlier start, it stays, and
            the trace is the first of STEM-1.jsonl, STEM-2.jsonl and so on that is not there.
    """

    def __init__(self, path: Path, config: UpdateConfig, workers: int, version: int) -> None:
        self._policy = config.policy(workers, version)
        self._file: TextIO | None = _new_file(path)
        self._write(
            {
                "format_version": FORMAT_VERSION,
                "updates": config.model_dump(mode="json"),
                "workers": workers,
                "version": version,
            }
        )

    def on(self, event: Event) -> list[Decision]:
        """See `UpdatePolicy.on`."""
        decisions = self._policy.on(event)
        self._write({"event": _plain(event), "decisions": [_plain(each) for each in decisions]})
        return decisions

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(line) + "\n")
        except OSError:  # A full disk ends the trace, which is whole up to here, and no training.
            self._file = None


def _new_file(path: Path) -> TextIO:
    """See `Recorded`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name, number = path.name, 0
    while True:
        try:
            return path.with_name(name).open("x", encoding="utf-8", buffering=1)  # whole lines
        except FileExistsError:
            number += 1
            name = f"{path.stem}-{number}{path.suffix}"


def read_trace(path: Path) -> tuple[UpdatePolicy, list[tuple[Event, list[Decision]]]]:
    """The policy of a trace as it was at its beginning, and what it was told and decided.

    A last line cut short by a killed job is left out.

    Raises:
        ValueError: it is no trace of this format.
    """
    lines = [
        json.loads(line)
        for line in path.read_text("utf-8").splitlines(keepends=True)
        if line.endswith("\n")
    ]
    head = lines[0] if lines else {}
    if head.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path}: expected a trace of updates of format version {FORMAT_VERSION}, received "
            f"{head.get('format_version')}"
        )
    policy = _CONFIG.validate_python(head["updates"]).policy(head["workers"], head["version"])
    return policy, [
        (_typed(line["event"]), [_typed(each) for each in line["decisions"]]) for line in lines[1:]
    ]


def _plain(value: Event | Decision) -> dict[str, Any]:
    return {"kind": type(value).__name__, **dataclasses.asdict(value)}


def _typed(plain: dict[str, Any]) -> Any:
    """The inverse of `_plain`, after JSON made lists of the tuples."""
    fields = {name: _tuples(value) for name, value in plain.items() if name != "kind"}
    return _KINDS[plain["kind"]](**fields)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
