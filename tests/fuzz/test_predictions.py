"""Files of predictions, our own and other tools': scored within [0, 1], or refused in a line."""

import io
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from manylabel.eval.errors import EvaluationError
from manylabel.eval.store.predictions import (
    PredictionBatch,
    PredictionOrigin,
    ScoreKind,
    read_origin,
    read_predictions,
    write_predictions,
)
from manylabel.pipeline.score import score_predictions
from manylabel.storage.errors import StorageError
from manylabel.storage.manifest import Manifest
from tests.fuzz._damage import damaged
from tests.fuzz._datasets import LABELS, sound_dataset, write
from tests.fuzz._tables import parquet, tables, to_parquet
from tests.fuzz._target import ACCEPTED, Target, fuzz, refused

pytestmark = pytest.mark.slow

FILES = sound_dataset()
NAMES = ("image_id", "image_row", "class_ids", "labels", "scores")
MANIFEST = Manifest.parse(FILES["manifest.json"], "manifest.json")
HELDOUT = pq.read_table(io.BytesIO(FILES["heldout_images.parquet"])).column("image_id").to_pylist()
SCORES = np.random.default_rng(0).normal(size=(len(HELDOUT), 3)).astype(np.float32)
SETTINGS = ["eval.precision_at=[1]"]
COLUMNS = {
    "image_id": HELDOUT,
    "image_row": list(range(len(HELDOUT))),
    "class_ids": [[0, 1, 2]] * len(HELDOUT),
    "labels": [list(LABELS)] * len(HELDOUT),
    "scores": SCORES.tolist(),
}


def _ours():
    origin = PredictionOrigin(
        dataset_digest=MANIFEST.content_digest,
        checkpoint_digest="f" * 64,
        score_kind=ScoreKind.LOGIT,
        k=3,
    )
    batch = PredictionBatch(HELDOUT, np.array(COLUMNS["class_ids"], np.int32), SCORES)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet"
        write_predictions(path, [batch], origin)
        return path.read_bytes()


def _theirs(*names):
    return to_parquet(pa.table({name: COLUMNS[name] for name in (*names, "scores")}))


SOUND = [
    _ours(),
    _theirs("image_id", "class_ids"),
    _theirs("image_row", "class_ids"),
    _theirs("image_row", "labels"),
]


@st.composite
def _edited(draw):
    """Sound columns, of which one or two are odd, or of another type."""
    names = [
        draw(st.sampled_from(("image_id", "image_row"))),
        draw(st.sampled_from(("class_ids", "labels"))),
    ]
    columns = {name: COLUMNS[name] for name in (*names, "scores")}
    for name in draw(st.lists(st.sampled_from((*names, "scores")), max_size=2)):
        values = [*columns[name]]
        place = draw(st.integers(0, len(values) - 1))
        if name in ("image_id", "image_row"):
            values[place] = draw(
                st.sampled_from(
                    (None, values[0], *((-1, 2**62) if name == "image_row" else ("", "other.png")))
                )
            )
        else:
            row = [*(values[place] or [0] * 3)] * 3
            odd = {
                "class_ids": st.sampled_from((None, -1, 0, 3, 2**31, 2**62)),
                "labels": st.sampled_from((None, "", "cat", " cat ", "\0")) | st.text(max_size=3),
                "scores": st.none() | st.floats(),
            }
            row[draw(st.integers(0, 2))] = draw(odd[name])
            values[place] = draw(st.sampled_from((row, row, row[:1], [], None, row * 2)))
        columns[name] = values
    types = {
        "image_id": (
            pa.string(),
            pa.large_string(),
            pa.string_view(),
            pa.dictionary(pa.int32(), pa.string()),
        ),
        "image_row": (pa.int64(), pa.int32(), pa.uint64()),
        "class_ids": (
            pa.list_(pa.int64()),
            pa.list_(pa.int16()),
            pa.large_list(pa.uint64()),
            pa.list_(pa.int64(), 3),
        ),
        "labels": (
            pa.list_(pa.string()),
            pa.large_list(pa.large_string()),
            pa.list_(pa.string(), 3),
        ),
        "scores": (
            pa.list_(pa.float64()),
            pa.list_(pa.float32()),
            pa.large_list(pa.float64()),
            pa.list_(pa.float64(), 3),
        ),
    }
    made = {}
    for name, values in columns.items():
        try:
            made[name] = pa.array(values, draw(st.sampled_from(types[name])))
        except (pa.ArrowInvalid, OverflowError):  # That type has no such value.
            made[name] = pa.array(values)
    return pa.table(made)


CASES = damaged(SOUND, (b"PAR1",)) | parquet(_edited()) | parquet(tables(NAMES))


def check(data, folder):
    write(folder, FILES | {"predictions.parquet": data})
    path = folder / "predictions.parquet"
    for read in (read_origin, partial(_read_to_the_end, batch_size=3)):
        try:
            read(path)
        except (EvaluationError, StorageError) as error:
            refused(error)
    try:
        summary = score_predictions(str(path), str(folder), None, 0, SETTINGS, print)
    except (EvaluationError, StorageError) as error:
        return refused(error)
    assert 0 <= summary.headline.value <= 1
    return ACCEPTED


def _read_to_the_end(path, batch_size):
    for batch in read_predictions(path, batch_size):
        assert len(batch.image_ids) <= batch_size


TARGET = Target("predictions", CASES, check)


def test_predictions(tmp_path):
    fuzz(TARGET, tmp_path / "case", 35, sound=SOUND)
