"""The `manylabel` command. Start-up imports no TensorFlow, Beam or Ray: stages load theirs."""

import typer

app = typer.Typer(name="manylabel", no_args_is_help=True, add_completion=False)


@app.callback()
def manylabel() -> None:
    """Train image classifiers with many labels per image, and show whether they got better."""


def main() -> None:
    """Entry point of the console script."""
    app()
