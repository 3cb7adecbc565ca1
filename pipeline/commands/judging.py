"""Commands that say how good checkpoints are, and which one is the champion."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from manylabel.pipeline.commands.options import (
    LARGEST,
    EvalOverrides,
    Margin,
    Run,
    SettingsName,
    Verbose,
    local_path,
    location,
    new_terminal,
    report,
    run_path,
)
from manylabel.pipeline.stopping import told_to_stop_with
from manylabel.pipeline.streams import check_written
from manylabel.pipeline.verbose import verbose_output
from manylabel.storage.jobs import JobStage


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
        typer.Option(
            metavar="DIR|URI",
            parser=location,
            help="Where the run's dataset is now, if it was moved.",
        ),
    ] = None,
    verbose: Verbose = False,
    overrides: EvalOverrides = None,
) -> None:
    """Score checkpoints on the held-out images by weighted MAP@100."""
    terminal = new_terminal()
    with (
        told_to_stop_with("stopped; the same command goes on with what is not evaluated yet"),
        verbose_output(verbose, run, JobStage.EVALUATE),
    ):
        from manylabel.pipeline.evaluate import evaluate_run

        summaries = evaluate_run(run, step, dataset, overrides or [], terminal.on_event)
    terminal.show_evaluations(summaries)


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
        report(str(error))
        return NOT_COMPARABLE
    new_terminal().show_comparison(tables)
    check_written()  # What it prints is all that there is of it.
    return EXIT_CODES[tables.review.headline.verdict] if check else 0


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
            metavar="FILE", parser=local_path, help="A report that opens without network, .html."
        ),
    ] = None,
    margin: Margin = 0.0,
    settings: SettingsName = None,
) -> None:
    """Review a checkpoint: may it be promoted?"""
    with told_to_stop_with():
        from manylabel.pipeline.review import review_run

        written = review_run(run, step, against, margin, output, settings)
    new_terminal().show_review(written)


def score(
    predictions: Annotated[
        str,
        typer.Argument(
            metavar="PREDICTIONS",
            parser=location,
            help="Parquet file or URI; docs/files.md has its columns.",
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            metavar="DIR|URI", parser=location, help="Whose held-out images were predicted."
        ),
    ],
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=run_path,
            help="A folder beside the runs, to be compared and shown with them; needs --step.",
        ),
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, max=LARGEST, help="Under which number, with --run.")
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            min=0, max=LARGEST, metavar="N", help="Training images that the model had seen."
        ),
    ] = 0,
    overrides: EvalOverrides = None,
) -> None:
    """Score any model's predictions for the held-out images by the same rules."""
    if (run is None) != (step is None):
        raise typer.BadParameter("expected both --run and --step, or neither")
    place = None if run is None or step is None else (run, step)
    terminal = new_terminal()
    with told_to_stop_with():
        from manylabel.pipeline.score import score_predictions

        summary = score_predictions(
            predictions, dataset, place, samples, overrides or [], terminal.on_event
        )
    terminal.show_evaluations([summary])
    if place is None:
        check_written()


def promote(
    run: Run,
    step: Annotated[int, typer.Option(help="Which checkpoint.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the decision.")],
    override: Annotated[
        list[str] | None,
        typer.Option(metavar="CHECK", help="Promote although this check fails. May be repeated."),
    ] = None,
    settings: SettingsName = None,
) -> None:
    """Make a checkpoint the champion: reviewed against the one before, and recorded."""
    terminal = new_terminal()
    with told_to_stop_with("stopped; the same command begins again, or says that it was decided"):
        from manylabel.pipeline.promote import promote as promote_checkpoint

        promoted = promote_checkpoint(
            run, step, reason, override or [], terminal.on_event, settings
        )
    terminal.show_promotion(promoted)
