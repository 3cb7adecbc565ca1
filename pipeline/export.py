"""The stage `export`."""

from pathlib import Path

from manylabel.eval.store.promotions import newest_promotion
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.quiet import quiet_imports
from manylabel.trainer.runs.directory import is_described, open_run


def export_run(place: Path, output: Path, step: int | None, top_k: int) -> Path:
    """Exports a checkpoint and returns the SavedModel's directory.

    Args:
        place: A run; or a folder of runs, whose champion is exported.

    Raises:
        CommandError: the folder has no champion, or a step was named beside it.
        TrainingError: there is no run.
    """
    run, step = _champion_of(place, step) if _is_root(place) else (place, step)
    open_run(run)  # Its error comes before the seconds that TensorFlow takes to load.
    with quiet_imports():
        from manylabel.deploy.export import export
    return export(run, output, step=step, top_k=top_k)


def _is_root(place: Path) -> bool:
    return not is_described(place) and newest_promotion(place) is not None


def _champion_of(root: Path, step: int | None) -> tuple[Path, int]:
    promotion = newest_promotion(root)
    assert promotion is not None
    champion = promotion.candidate
    if step is not None:
        raise CommandError(
            f"--step {step}: {root} is a folder of runs, whose champion is {champion.name}; name a "
            "run for another step"
        )
    return root / champion.run, champion.step
