"""The stage `preprocess`."""

from rich.console import Console

from manylabel.pipeline.progress import progress_display
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import PreprocessingReport, preprocess
from manylabel.storage.schema import SplitName


def preprocess_with(
    config: PreprocessingConfig, output: str, console: Console, *, overwrite: bool = False
) -> None:
    """Makes a dataset, or what is missing of it, and says what it holds."""
    with progress_display("preprocess", console) as display:
        report = preprocess(
            config,
            output,
            overwrite=overwrite,
            progress=lambda progress: display.update(progress.done, progress.total, progress.stage),
        )
    console.print(_told(report), markup=False, highlight=False, soft_wrap=True)


def _told(report: PreprocessingReport) -> str:
    lines = [
        f"{report.dataset}: {report.images[SplitName.TRAIN]:,} images to train on, "
        f"{report.images[SplitName.HELDOUT]:,} held out, {report.num_classes:,} classes"
    ]
    counts = report.counts
    lines.append(
        f"{counts.listed:,} listed = {counts.written:,} written + {counts.rejected:,} rejected + "
        f"{counts.duplicates:,} duplicates"
    )
    if report.rejected:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in report.rejected.items())
        lines.append(f"rejected.parquet: {reasons}")
    if report.nothing_to_do:
        lines.append("nothing to do: the dataset was there, complete and intact")
    else:
        lines.append(
            f"wrote {report.shards_written} shards, kept {report.shards_kept}, "
            f"in {report.seconds:.0f} s"
        )
    return "\n".join(lines)
