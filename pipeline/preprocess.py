"""The stage `preprocess`."""

from pathlib import Path

from manylabel.pipeline.errors import Interrupted
from manylabel.pipeline.events import OnEvent, PreprocessingProgressed, long_work
from manylabel.pipeline.job_status import BEFORE_ANYTHING_CHANGES, StatusWriter
from manylabel.pipeline.standstill import telling_standstill
from manylabel.pipeline.stopping import told_to_stop
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.progress import Progress
from manylabel.preprocessing.report import PreprocessingReport
from manylabel.storage.jobs import JobStage


def preprocess_with(
    config: PreprocessingConfig,
    output: str,
    on_event: OnEvent,
    *,
    overwrite: bool = False,
    verify: bool = False,
    retry_rejected: bool = False,
) -> PreprocessingReport:
    """Makes a dataset, or what is missing of it; the options are those of `preprocess`.

    Raises:
        Interrupted: it was told to stop; what was done is kept.
    """
    begun = False

    def tell(progress: Progress) -> None:
        nonlocal begun
        begun = begun or progress.stage not in BEFORE_ANYTHING_CHANGES
        status.on_event(PreprocessingProgressed(progress))

    place = None if "://" in output else Path(output)
    try:
        with (
            told_to_stop(),
            long_work("preprocess", on_event),
            telling_standstill(on_event) as moved,
            StatusWriter(place, JobStage.PREPROCESS, moved) as status,
        ):
            return preprocess(
                config,
                output,
                overwrite=overwrite,
                verify=verify,
                retry_rejected=retry_rejected,
                progress=tell,
            )
    except KeyboardInterrupt as stop:
        if overwrite and not begun:
            raise Interrupted("stopped, before anything was overwritten") from stop
        again = ", without --overwrite," if overwrite else ""
        raise Interrupted(f"stopped; the same command{again} goes on where it was") from stop
