"""The stage `preprocess`."""

from manylabel.pipeline.events import OnEvent, PreprocessingProgressed, long_work
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import PreprocessingReport, preprocess


def preprocess_with(
    config: PreprocessingConfig, output: str, on_event: OnEvent, *, overwrite: bool = False
) -> PreprocessingReport:
    """Makes a dataset, or what is missing of it."""
    with long_work("preprocess", on_event):
        return preprocess(
            config,
            output,
            overwrite=overwrite,
            progress=lambda progress: on_event(PreprocessingProgressed(progress)),
        )
