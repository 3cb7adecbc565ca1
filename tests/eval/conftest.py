"""What evaluations say of where they come from."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from manylabel.eval.store.predictions import PredictionOrigin, ScoreKind
from manylabel.eval.store.summary import Provenance
from manylabel.storage.dataset import Dataset


@pytest.fixture
def provenance() -> Provenance:
    return Provenance(
        run="run-a",
        checkpoint="runs/run-a/checkpoints/00000020",
        checkpoint_digest="c" * 64,
        step=20,
        samples=640,
        code_version="0.1.0",
        evaluated_at=datetime(2025, 1, 2, tzinfo=UTC),
    )


@pytest.fixture
def origin_of(provenance: Provenance) -> Callable[..., PredictionOrigin]:
    """origin_of(dataset): of predictions of the checkpoint above."""

    def origin(dataset: Dataset, **changes: object) -> PredictionOrigin:
        fields: dict[str, object] = {
            "dataset_digest": dataset.content_digest,
            "checkpoint_digest": provenance.checkpoint_digest,
            "score_kind": ScoreKind.LOGIT,
            "k": 8,
        }
        return PredictionOrigin.model_validate(fields | changes)

    return origin
