"""The `manylabel` command: parses arguments, hands them to a stage, and shows what it returns.

Each command imports its stage when it is called: `--help` loads no TensorFlow, Beam or Ray.
"""

import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from manylabel.pipeline.errors import USER_ERRORS, Interrupted
from manylabel.pipeline.quiet import quiet_libraries
from manylabel.pipeline.streams import check_written, outlive_displays

if TYPE_CHECKING:
    from manylabel.pipeline.terminal import Terminal

app = typer.Typer(add_completion=False, rich_markup_mode="rich", no_args_is_help=True)
presets_app = typer.Typer(no_args_is_help=True, help="List and show the presets.")
app.add_typer(presets_app, name="presets")
schedule_app = typer.Typer(no_args_is_help=True, help="Evaluate on a schedule: schedules.yaml.")
app.add_typer(schedule_app, name="schedule")

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


def _local_path(path: str | Path) -> Path:
    """Refuses URIs: Path("s3://bucket") is the local folder "s3:/bucket". Defaults come as Path."""
    if "://" in str(path):
        raise typer.BadParameter(f"expected a local path, received {path}")
    return Path(path)


Run = Annotated[Path, typer.Argument(metavar="RUN", parser=_local_path, help="Directory of a run.")]
Margin = Annotated[
    float, typer.Option(min=0, metavar="M", help="The least difference that matters.")
]
Root = Annotated[Path, typer.Argument(metavar="[ROOT]", parser=_local_path, help="Folder of runs.")]
DEBUG = "--debug"


@app.callback()
def manylabel(
    debug: Annotated[  # run() looks for it: errors leave no context behind.
        bool, typer.Option(DEBUG, help="Show the traceback of an internal error.")
    ] = False,
) -> None:
    """Train image classifiers with many labels per image, and show whether they got better."""
    quiet_libraries()


@app.command()
def preprocess(
    config: Config,
    output: Annotated[str, typer.Option(metavar="DIR|URI", help="Where the dataset goes.")],
    catalog: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Sets preprocessing.catalog.path."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a dataset of other settings there.")
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Turn a catalog of labelled images into checked TFRecord shards."""
    from manylabel.pipeline.config import load_settings, override

    catalogs = [] if catalog is None else [override("preprocessing.catalog.path", catalog)]
    settings = load_settings(config, [*catalogs, *(overrides or [])])

    from manylabel.pipeline.preprocess import preprocess_with

    terminal = _terminal()
    terminal.show_dataset(
        preprocess_with(settings.preprocessing, output, terminal.on_event, overwrite=overwrite)
    )


@app.command()
def train(
    config: Config,
    dataset: Annotated[str, typer.Option(metavar="DIR|URI", help="Made by preprocess.")],
    run: Annotated[
        Path,
        typer.Option(metavar="DIR", parser=_local_path, help="The run; goes on if it exists."),
    ],
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster, host:port or auto; without it, this machine."),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Train a model; the same command resumes from the newest intact checkpoint."""
    from manylabel.pipeline.config import load_settings

    settings = load_settings(config, overrides or [])

    from manylabel.pipeline.train import train_with

    terminal = _terminal()
    terminal.show_training(train_with(settings, dataset, run, address, terminal.on_event))


@app.command()
def evaluate(
    run: Run,
    step: Annotated[
        str,
        typer.Option(
            metavar="N|latest|best|new|all",
            help="Which checkpoints: new, those without an evaluation; all shows the others too.",
        ),
    ] = "latest",
    dataset: Annotated[
        str | None,
        typer.Option(metavar="DIR|URI", help="Where the run's dataset is now, if it was moved."),
    ] = None,
    overrides: EvalOverrides = None,
) -> None:
    """Score checkpoints on the held-out images by weighted MAP@100."""
    from manylabel.pipeline.evaluate import evaluate_run

    terminal = _terminal()
    terminal.show_evaluations(evaluate_run(run, step, dataset, overrides or [], terminal.on_event))


@app.command()
def compare(
    candidate: Annotated[
        str,
        typer.Argument(
            metavar="CANDIDATE",
            help="RUN or RUN@STEP; without a step, the run's newest evaluation.",
        ),
    ],
    reference: Annotated[
        str, typer.Argument(metavar="REFERENCE", help="Likewise: what it is held against.")
    ],
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Exit with 0 if the candidate is better, 10 if that is not shown, 11 if it is "
            "worse, 12 if the two cannot be compared.",
        ),
    ] = False,
    margin: Margin = 0.0,
    form: Annotated[
        Literal["image", "class"] | None,
        typer.Option(help="The headline's; without it, that of the candidate's settings."),
    ] = None,
    settings: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which evaluations, where checkpoints have several: e.g. uniform, or the whole "
            "name of a folder below evals/STEP/.",
        ),
    ] = None,
) -> int:
    """Is one checkpoint better than another, and on which labels? Writes nothing."""
    from manylabel.eval.review.pair import NotComparable
    from manylabel.pipeline.review import EXIT_CODES, NOT_COMPARABLE, compare_evaluations

    try:
        tables = compare_evaluations(candidate, reference, settings, margin, form)
    except NotComparable as error:
        if not check:
            raise
        _report(str(error))
        return NOT_COMPARABLE
    _terminal().show_comparison(tables)
    return EXIT_CODES[tables.review.headline.verdict] if check else 0


@app.command()
def review(
    run: Run,
    step: Annotated[int, typer.Argument(metavar="STEP", help="An evaluated checkpoint.")],
    against: Annotated[
        str | None,
        typer.Option(metavar="RUN@STEP", help="Of the same folder; without it, the champion."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=_local_path, help="A report that opens without network, .html."
        ),
    ] = None,
    margin: Margin = 0.0,
) -> None:
    """Review a checkpoint: may it be promoted?"""
    from manylabel.pipeline.review import review_run

    _terminal().show_review(review_run(run, step, against, margin, output))


@app.command()
def score(
    predictions: Annotated[
        str,
        typer.Argument(
            metavar="PREDICTIONS", help="Parquet file or URI; docs/files.md has its columns."
        ),
    ],
    dataset: Annotated[
        str, typer.Option(metavar="DIR|URI", help="Whose held-out images were predicted.")
    ],
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=_local_path,
            help="A folder beside the runs, to be compared and shown with them; needs --step.",
        ),
    ] = None,
    step: Annotated[int | None, typer.Option(min=0, help="Under which number, with --run.")] = None,
    samples: Annotated[
        int, typer.Option(min=0, metavar="N", help="Training images that the model had seen.")
    ] = 0,
    overrides: EvalOverrides = None,
) -> None:
    """Score any model's predictions for the held-out images by the same rules."""
    from manylabel.pipeline.score import score_predictions

    if (run is None) != (step is None):
        raise typer.BadParameter("expected both --run and --step, or neither")
    place = None if run is None or step is None else (run, step)
    terminal = _terminal()
    summary = score_predictions(
        predictions, dataset, place, samples, overrides or [], terminal.on_event
    )
    terminal.show_evaluations([summary])


@app.command()
def promote(
    run: Run,
    step: Annotated[int, typer.Option(help="Which checkpoint.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the decision.")],
    override: Annotated[
        list[str] | None,
        typer.Option(metavar="CHECK", help="Promote although this check fails. May be repeated."),
    ] = None,
) -> None:
    """Make a checkpoint the champion: reviewed against the one before, and recorded."""
    from manylabel.pipeline.promote import promote as promote_checkpoint

    terminal = _terminal()
    terminal.show_promotion(
        promote_checkpoint(run, step, reason, override or [], terminal.on_event)
    )


@app.command()
def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="[RUN|ROOT]",
            parser=_local_path,
            help="Directory of a run, or a folder of runs: its champion.",
        ),
    ] = Path("runs"),
    *,
    output: Annotated[
        Path, typer.Option(metavar="DIR", parser=_local_path, help="Where the model goes.")
    ],
    step: Annotated[
        int | None, typer.Option(help="Checkpoint; without it, the newest intact one.")
    ] = None,
    top_k: Annotated[
        int, typer.Option(min=1, metavar="K", help="Labels that the model returns for an image.")
    ] = 5,
) -> None:
    """Write a SavedModel (image bytes in, labels and scores out) and the network as .keras."""
    from manylabel.pipeline.export import export_run

    _terminal().show_export(export_run(run, output, step, top_k))


@app.command()
def predict(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            parser=_local_path,
            help="Directory of an exported model or of a run, or a folder of runs: its champion.",
        ),
    ],
    images: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", parser=_local_path, help="Folder of images, with its folders; or one."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(metavar="FILE", parser=_local_path, help="Labels, .parquet or .csv."),
    ] = Path("labels.parquet"),
    step: Annotated[
        int | None, typer.Option(help="Checkpoint of a run; without it, the newest intact one.")
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="K", help="Labels of an image; 5, or what the model was exported with."
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Images at a time; memory grows with it.")
    ] = 32,
) -> None:
    """Write the labels of new images to a Parquet or CSV file."""
    from manylabel.pipeline.predict import predict_labels

    terminal = _terminal()
    terminal.show_labels(
        predict_labels(model, images, output, step, top_k, batch_size, terminal.on_event)
    )


@app.command()
def runs(
    root: Annotated[
        Path, typer.Argument(metavar="[ROOT]", parser=_local_path, help="Folder of runs.")
    ] = Path("runs"),
) -> None:
    """List runs with their newest checkpoint and evaluation."""
    from manylabel.pipeline.runs import list_runs

    _terminal().show_runs(root, list_runs(root))


@app.command()
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


@app.command()
def demo(
    output: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            parser=_local_path,
            help="Results; an unfinished demo there goes on.",
        ),
    ] = Path("demo-output"),
    overrides: Overrides = None,
) -> None:
    """Do everything on the pictures that come with the project; a few minutes on two cores."""
    from manylabel.pipeline.demo import run_demo

    terminal = _terminal()
    terminal.show_demo(run_demo(output, overrides or [], terminal.on_event))


@presets_app.command("list")
def list_presets() -> None:
    """Name the presets."""
    from manylabel.pipeline.config import preset_names

    for name in preset_names():
        typer.echo(name)
    check_written()


@presets_app.command("show")
def show_preset(name: Annotated[str, typer.Argument(help="One of `presets list`.")]) -> None:
    """Print a preset's file with its comments, ready to be copied and changed."""
    from manylabel.pipeline.config import preset_path

    typer.echo(preset_path(name).read_text("utf-8"), nl=False)
    check_written()


@schedule_app.command("run-due")
def schedule_run_due(root: Root = Path("runs")) -> None:
    """Evaluate what is due now, and end; for cron or a Kubernetes CronJob to call."""
    from manylabel.pipeline.schedule import run_due

    terminal = _terminal()
    report = run_due(root, terminal.on_event)
    terminal.show_due(report)
    report.check()


@schedule_app.command("serve")
def schedule_serve(root: Root = Path("runs")) -> None:
    """Evaluate what is due until it is stopped."""
    from manylabel.pipeline.schedule import list_schedules, serve

    terminal = _terminal()
    terminal.show_schedules(list_schedules(root, terminal.on_event))
    serve(root, terminal.on_event)


@schedule_app.command("list")
def schedule_list(root: Root = Path("runs")) -> None:
    """Tell of each schedule what it did last, why, and what is next."""
    from manylabel.pipeline.schedule import list_schedules

    terminal = _terminal()
    terminal.show_schedules(list_schedules(root, terminal.on_event))


def _terminal() -> "Terminal":
    from manylabel.pipeline.terminal import Terminal

    return Terminal()


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code.

    0: done. 2: settings, files or arguments are wrong, a line each. 130: interrupted. 1: our
    fault; the traceback is kept in a file.
    """
    try:
        return app(arguments, prog_name="manylabel", standalone_mode=False) or 0
    except typer.TyperException as error:
        if problem := error.format_message().rstrip("."):  # Empty: the help was shown instead.
            _report(f"{problem}; see manylabel --help")
    except Interrupted as error:
        typer.echo(error, err=True)
        return 130
    except USER_ERRORS as error:
        _report(*str(error).splitlines())
    except OSError as error:
        if error.filename is None:
            return _internal_error(error, arguments)
        _report(f"{error.filename}: {error.strerror}")
    except Exception as error:
        return _internal_error(error, arguments)
    return 2


def _report(*problems: str) -> None:
    for problem in problems:
        typer.echo(f"{typer.style('error:', fg='red', bold=True)} {problem}", err=True)


def _internal_error(error: Exception, arguments: list[str]) -> int:
    text = "".join(traceback.format_exception(error))
    if DEBUG in arguments:
        typer.echo(text, err=True)
        return 1
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="manylabel-", suffix=".log", delete=False
    ) as file:
        file.write(f"manylabel {' '.join(arguments)}\n{text}")
    summary = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    typer.echo(f"internal error: {summary} (traceback: {file.name})", err=True)
    return 1


def main() -> None:
    """Entry point of the console script."""
    outlive_displays()
    sys.exit(run(sys.argv[1:]))
