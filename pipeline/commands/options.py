"""What several commands share: arguments, the terminal, how a problem is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manylabel.storage.errors import printable, reason_of
from manylabel.storage.usable_paths import storable, storable_local, usable_local

if TYPE_CHECKING:
    from manylabel.pipeline.terminal import Terminal

Config = Annotated[
    str, typer.Argument(metavar="CONFIG", help="YAML file of settings, or a preset's name.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting, e.g. trainer.input.batch_size=16. May be repeated.",
    ),
]
EvalOverrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of eval, e.g. eval.k=10."),
]


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", help="Show what libraries and helper processes print, each line with its name."
    ),
]


LARGEST = 2**63 - 1
"""Of numbers that are stored: steps, samples."""


def location(path: str) -> str:
    """A path or a URI of which runs and manifests tell."""
    with _as_parameter():
        return storable(path)


def local_path(path: str | Path) -> Path:
    """A local path. Defaults come as Path."""
    with _as_parameter():
        return usable_local(str(path))


def run_path(path: str | Path) -> Path:
    """A local path whose name evaluations, reviews and promotions can store."""
    with _as_parameter():
        return storable_local(str(path))


@contextmanager
def _as_parameter() -> Iterator[None]:
    """Makes what is wrong with a path the parameter's error."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise typer.BadParameter(reason_of(error)) from error


Run = Annotated[Path, typer.Argument(metavar="RUN", parser=run_path, help="Directory of a run.")]
Margin = Annotated[
    float, typer.Option(min=0, metavar="M", help="The least difference that matters.")
]
Root = Annotated[Path, typer.Argument(metavar="[ROOT]", parser=local_path, help="Folder of runs.")]


SettingsName = Annotated[
    str | None,
    typer.Option(
        "--settings",
        metavar="NAME",
        help="Which evaluations, where there are several: e.g. uniform, or the whole name of a "
        "folder below evals/STEP/. Without it, those with the run's own settings.",
    ),
]


Address = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Of the cluster's Jobs API: http://HEAD:8265; without it, RAY_API_SERVER_ADDRESS.",
    ),
]
OfCluster = Annotated[
    str | None,
    typer.Option("--address", metavar="URL", help="Of a cluster's Jobs API: http://HEAD:8265."),
]
Place = Annotated[
    Path,
    typer.Argument(metavar="RUN", parser=run_path, help="Directory of a run, or of a dataset."),
]


def new_terminal() -> "Terminal":
    """Where a command shows everything."""
    from manylabel.pipeline.terminal import Terminal

    return Terminal()


def report(*problems: str) -> None:
    """Tells what is wrong, a line each; what a terminal would obey is spelled out."""
    for problem in problems:
        typer.echo(f"{typer.style('error:', fg='red', bold=True)} {printable(problem)}", err=True)
