"""Commands that show what there is."""

from pathlib import Path
from typing import Annotated

import typer

from manylabel.pipeline.commands.options import Overrides, Root, local_path, new_terminal
from manylabel.pipeline.quiet import quiet_imports
from manylabel.pipeline.streams import check_written


def runs(
    root: Annotated[
        Path, typer.Argument(metavar="[ROOT]", parser=local_path, help="Folder of runs.")
    ] = Path("runs"),
) -> None:
    """List runs with their newest checkpoint and evaluation."""
    from manylabel.pipeline.runs import list_runs

    new_terminal().show_runs(root, list_runs(root))
    check_written()


def networks(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONFIG]", help="YAML file of settings, or a preset's name: its network alone."
        ),
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="Labels to tell apart.")] = 1000,
    backbones: Annotated[
        bool,
        typer.Option("--backbones", help="Those of keras.applications; takes a minute."),
    ] = False,
    overrides: Overrides = None,
) -> None:
    """List the networks that can be trained: parameters, multiply-adds and features."""
    from manylabel.pipeline.config import load_settings

    if config is None and overrides:
        raise typer.BadParameter("expected a CONFIG that it changes", param_hint="--set")
    settings = None if config is None else load_settings(config, overrides or [])

    with quiet_imports():
        from manylabel.pipeline.networks import network_of
        from manylabel.pipeline.networks import networks as all_networks

        listed = (
            list(all_networks(classes, backbones=backbones))
            if settings is None
            else [network_of(settings.trainer, classes)]
        )
    new_terminal().show_networks(listed, classes)
    check_written()


def dashboard(
    root: Root = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 for any free one.")] = 8090,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on for others, such as 0.0.0.0; asks for a token."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="MANYLABEL_TOKEN", help="What visitors must know; made and printed with --host."
        ),
    ] = None,
) -> None:
    """Show runs, evaluations and reviews as web pages; they only read."""
    from manylabel.pipeline.dashboard import serve_dashboard

    serve_dashboard(
        root, host, port, token, lambda url: typer.echo(f"{url}  (Ctrl-C ends the dashboard)")
    )


def list_presets() -> None:
    """Name the presets."""
    from manylabel.pipeline.config import preset_names

    for name in preset_names():
        typer.echo(name)
    check_written()


def show_preset(name: Annotated[str, typer.Argument(help="One of `presets list`.")]) -> None:
    """Print a preset's file with its comments, ready to be copied and changed."""
    from manylabel.pipeline.config import preset_path

    typer.echo(preset_path(name).read_text("utf-8"), nl=False)
    check_written()
