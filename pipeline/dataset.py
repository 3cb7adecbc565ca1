"""The stage `dataset verify`."""

from collections.abc import Mapping
from dataclasses import dataclass

from manylabel.pipeline.events import OnEvent, PreprocessingProgressed, long_work
from manylabel.pipeline.standstill import telling_standstill
from manylabel.pipeline.stopping import told_to_stop_with
from manylabel.preprocessing.progress import Meter, reporting
from manylabel.preprocessing.repair import Repair, check_image_roots, repair
from manylabel.preprocessing.verification import Damage, verify
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName

_STOPPED = "stopped; the same command begins again, and finds whole what was written again"


@dataclass(frozen=True)
class VerificationReport:
    """What was found, and what was done about it.

    Attributes:
        damages: Files that were not what they should be.
        repair: What became of them; None where no repair was asked for.
    """

    dataset: Dataset
    damages: tuple[Damage, ...]
    repair: Repair | None

    @property
    def is_whole(self) -> bool:
        """Whether every file is now what it should be."""
        return not self.problems()

    def problems(self) -> list[str]:
        """A line for each file that is damaged still."""
        if self.repair is None:
            return [damage.problem for damage in self.damages]
        left = self.repair.left
        return [
            f"{damage.problem}; not written again: {left[damage.path]}"
            for damage in self.damages
            if damage.path in left
        ]


def verify_dataset(
    root: str,
    on_event: OnEvent,
    *,
    repairing: bool = False,
    image_roots: Mapping[SplitName, str] | None = None,
) -> VerificationReport:
    """Reads every byte of a dataset, and writes damaged files again if that is wanted.

    Args:
        image_roots: Where the pictures lie now, for a repair; else where they were.

    Raises:
        Interrupted: it was told to stop.
        StorageError: there is no finished dataset, or its storage failed.
        PreprocessingError: another job writes there, or no pictures of this dataset can lie at
            one of `image_roots`.
    """
    dataset, meter = Dataset.open(root), Meter()
    check_image_roots(dataset, image_roots or {})
    with (
        told_to_stop_with(_STOPPED),
        long_work("verify", on_event),
        telling_standstill(on_event) as moved,
        reporting(meter, lambda progress: moved(PreprocessingProgressed(progress))),
    ):
        damages = tuple(verify(dataset, meter))
        done = repair(dataset, damages, meter, image_roots) if repairing and damages else None
    return VerificationReport(dataset, damages, done)
