"""Any model's predictions, by our rules: what is accepted, and what is told of what is not."""

import datetime
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.eval.config import EvalConfig
from manylabel.eval.errors import EvaluationError
from manylabel.eval.job import Evaluator
from manylabel.eval.store.evaluations import predictions_path, read_summaries
from manylabel.eval.store.history import histories, read_history
from manylabel.eval.store.predictions import (
    PredictionBatch,
    PredictionOrigin,
    ScoreKind,
    read_origin,
    read_predictions,
    write_predictions,
)
from manylabel.eval.store.summary import Provenance
from manylabel.pipeline import cli
from manylabel.pipeline.evaluate import sole_evaluation
from manylabel.pipeline.events import Doing, Event, ScoringProgressed, WorkBegan, WorkEnded
from manylabel.pipeline.score import score_predictions

NAMES = ["sky", "dog", "beach", "kite", "café", "owl"]
COUNTS = [400, 90, 35, 20, 7, 3]
IMAGES = 40
RNG = np.random.default_rng(11)
LOGITS = RNG.normal(scale=3, size=(IMAGES, 6))
LABELS = [sorted(set(RNG.integers(0, 6, 2).tolist())) for _ in range(IMAGES)]
IDS = [f"{row:02}.jpg" for row in range(IMAGES)]
SETTINGS = ["eval.precision_at=[1, 5]"]


def ranked(scores, best=6):
    class_ids = np.argsort(-scores, axis=1)[:, :best]
    return class_ids, np.take_along_axis(scores, class_ids, axis=1)


def columns_of(scores=LOGITS, best=6):
    class_ids, scores = ranked(scores, best)
    return {"image_id": IDS, "class_ids": class_ids.tolist(), "scores": scores.tolist()}


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


@pytest.fixture
def dataset(make_dataset):
    return make_dataset([(IDS[row], LABELS[row]) for row in reversed(range(IMAGES))], COUNTS, NAMES)


@pytest.fixture
def write(tmp_path):
    def write(columns, name="predictions.parquet"):
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path(name))
        return path(name)

    def path(name):
        return tmp_path / name

    return write


def scored(path, dataset, place=None, settings=SETTINGS):
    return score_predictions(str(path), str(dataset.root), place, 0, settings, lambda _: None)


def told(capsys, path, dataset, *arguments):
    """The line that a wrong file or argument is told with."""
    command = ["score", str(path), "--dataset", str(dataset.root), *arguments]
    assert cli.run(command) == 2
    captured = capsys.readouterr()
    assert all(line.startswith("score: ") for line in captured.out.splitlines()), "how far it came"
    (line,) = captured.err.splitlines()
    return line.removeprefix("error: ")


@pytest.fixture
def ours(dataset):
    """ours(scores): what the evaluation of a checkpoint says of the same predictions."""

    def evaluate(scores=LOGITS):
        class_ids, best = ranked(scores)
        provenance = Provenance(
            run="",
            checkpoint="",
            checkpoint_digest="",
            step=0,
            samples=0,
            code_version="",
            evaluated_at=datetime.datetime.now(datetime.UTC),
        )
        config = EvalConfig(precision_at=(1, 5))
        batch = PredictionBatch(IDS, class_ids.astype(np.int32), best.astype(np.float32))
        return Evaluator(dataset, config).evaluate([batch], provenance).summary

    return evaluate


def named(class_ids):
    """Names as somebody may write them: with spaces around, the accent as a letter of its own."""
    return [
        [f" {NAMES[c]} ".replace("é", "e\N{COMBINING ACUTE ACCENT}") for c in row]
        for row in class_ids
    ]


def shuffled(columns):
    order = np.random.default_rng(1).permutation(IMAGES)
    return {name: [values[row] for row in order] for name, values in columns.items()}


BACKWARDS = {
    name: [values[::-1] for values in lists]
    for name, lists in columns_of().items()
    if name != "image_id"
}
WIDE = pa.table(columns_of()).cast(
    pa.schema(
        {
            "image_id": pa.large_string(),
            "class_ids": pa.large_list(pa.int64()),
            "scores": pa.large_list(pa.float64()),
        }
    )
)
FIXED = pa.table(
    {
        "image_id": IDS,
        "class_ids": pa.array(columns_of()["class_ids"], pa.list_(pa.uint16(), 6)),
        "scores": pa.array(columns_of()["scores"], pa.list_(pa.float32(), 6)),
    }
)


@pytest.mark.parametrize(
    "columns",
    [
        columns_of(),
        shuffled(columns_of()),
        columns_of() | BACKWARDS,
        {"image_row": list(range(IMAGES))}
        | {name: values for name, values in columns_of().items() if name != "image_id"},
        {"image_id": IDS, "labels": named(ranked(LOGITS)[0]), "scores": columns_of()["scores"]},
        columns_of(sigmoid(LOGITS)),
        WIDE,
        FIXED,
        columns_of() | {"model": ["mine"] * IMAGES},
        columns_of() | {"image_id": pa.array(IDS).dictionary_encode()},
    ],
    ids=[
        "ids",
        "shuffled",
        "backwards",
        "rows",
        "names",
        "probabilities",
        "wide",
        "fixed",
        "more",
        "categories",
    ],
)
def test_each_way_of_writing_them_is_scored_like_our_own(write, dataset, ours, columns):
    summary, expected = scored(write(columns), dataset), ours()
    assert summary.scores == expected.scores
    assert summary.intervals == expected.intervals
    assert summary.baseline == expected.baseline
    assert summary.settings == expected.settings


def test_probabilities_next_to_1_are_told_apart(write, dataset, ours):
    """In 32 bits all of these are 1, so that images would tie in each class's ranking."""
    probabilities = sigmoid(LOGITS / 3 + 25)
    assert (probabilities.astype(np.float32) == 1).all()
    assert scored(write(columns_of(probabilities)), dataset).scores == ours().scores


def test_scores_below_0_are_no_probabilities(write, dataset, ours):
    assert scored(write(columns_of(LOGITS - 50)), dataset).scores == ours().scores


def test_0_and_1_are_probabilities_too(write, dataset):
    certain = (LOGITS > 0).astype(float)
    summary = scored(write(columns_of(certain)), dataset)
    assert 0 < summary.scores.weighted_map_class < 1


def test_settings_count(write, dataset):
    path = write(columns_of())
    values = {
        scored(path, dataset, settings=settings).headline.value
        for settings in (
            SETTINGS,
            ["eval.k=2", "eval.precision_at=[1]"],
            [*SETTINGS, "eval.form=image"],
            [*SETTINGS, "eval.weights.kind=uniform"],
        )
    }
    assert len(values) == 4


def test_the_table_is_that_of_evaluate(write, dataset, capsys):
    path = write(columns_of())
    assert cli.run(["score", str(path), "--dataset", str(dataset.root)]) == 0
    text = capsys.readouterr().out
    assert "weighted MAP@100 (class form), training_share weights" in text
    assert "40 held-out images in 40 near-duplicate groups" in text
    summary = scored(path, dataset)
    interval = summary.headline.interval
    assert f"{summary.headline.value:.4f}" in text
    assert f"{interval.low:.3f}–{interval.high:.3f}" in text
    assert list(path.parent.glob("*.parquet")) == [path]


def test_it_tells_how_far_it_is_and_watches_only_what_has_a_count(write, dataset, tmp_path):
    told: list[tuple[Event, bool]] = []
    path, settings = write(columns_of()), [*SETTINGS, "eval.batch_size=16"]

    def note(event):
        watched = any(thread.name == "standstill" for thread in threading.enumerate())
        told.append((event, watched))

    def events_of(path, place):
        told.clear()
        score_predictions(str(path), str(dataset.root), place, 0, settings, note)
        assert [event for event, watched in told if watched] == [
            event for event, _ in told if isinstance(event, ScoringProgressed)
        ]
        return [event for event, _ in told]

    read = [ScoringProgressed(done, IMAGES) for done in (16, 32, 40)]
    scored = [
        WorkBegan("score"),
        Doing("looking at the predictions"),
        Doing("reading the held-out labels"),
        *read,
        Doing("computing the metric"),
    ]
    written = [Doing("writing the predictions"), *read, Doing("writing the evaluation")]
    assert events_of(path, None) == [*scored, WorkEnded()]
    assert events_of(path, (tmp_path / "other", 1)) == [*scored, *written, WorkEnded()]
    assert events_of(path, (tmp_path / "other", 1)) == [*scored, WorkEnded()]
    with pytest.raises(EvaluationError, match=r"zz\.jpg"):
        events_of(write(with_("image_id", 20, "zz.jpg")), None)
    assert told[-2:] == [(read[0], True), (WorkEnded(), False)]


def with_(column, row, value):
    columns = columns_of()
    return columns | {column: [*columns[column][:row], value, *columns[column][row + 1 :]]}


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({n: v[:-1] for n, v in columns_of().items()}, "none for 1 and several for 0, e.g. 0 for"),
        (with_("image_id", 3, "00.jpg"), "none for 1 and several for 1, e.g. 2 for '00.jpg'"),
        (with_("image_id", 3, "zz.jpg"), "image 'zz.jpg', which is not in the held-out split"),
        (with_("class_ids", 3, [0, 1, 2, 3, 4, 6]), "class ids in [0, 6), received 6; the predict"),
        (with_("class_ids", 3, [0, 1, 2, 3, 4, 4]), "'03.jpg': expected each class once, receiv"),
        (
            with_("class_ids", 3, [0, 1]),
            "class_ids: expected as many for every image, received 6 f",
        ),
        (with_("class_ids", 3, None), "class_ids: expected a list in every row, received a null"),
        (with_("class_ids", 3, [0, 1, 2, 3, 4, None]), "class_ids: expected no null, received 1"),
        (with_("class_ids", 3, [0, 1, 2, 3, 4, 2**40]), "class_ids: expected lists of int32: Int"),
        (with_("scores", 3, [0.5] * 5), "scores: expected as many for every image, received 6 for"),
        (with_("scores", 3, [np.nan] * 6), "'03.jpg': expected finite scores, received nan"),
        (with_("scores", 3, [np.inf] * 6), "'03.jpg': expected finite scores, received inf"),
        (columns_of(best=3), "expected at least 6 predictions an image"),
        (columns_of() | {"image_id": list(range(40))}, "image_id: expected text, received int64; "),
        (columns_of() | {"scores": [["a"] * 6] * 40}, "scores: expected lists of double, received"),
        (columns_of() | {"class_ids": [[0.0] * 6] * 40}, "class_ids: expected lists of int32, rec"),
        (columns_of() | {"class_ids": [1] * 40}, "class_ids: expected lists of int32, received in"),
        (
            columns_of() | {"image_row": list(range(40))},
            "expected one column image_id or image_row",
        ),
        ({"image_id": IDS}, "expected one column class_ids or labels, received ['image_id']"),
        (
            {"image_id": IDS, "class_ids": columns_of()["class_ids"]},
            "expected a column scores, received",
        ),
        (
            {"image_id": IDS, "labels": [["sky", "cat"]] * 40, "scores": [[2.0, 1.0]] * 40},
            "labels: expected names of the dataset's 6 labels, received 'cat'; the predictions",
        ),
        (
            {"image_row": [*range(39), 40], "class_ids": [[0]] * 40, "scores": [[1.0]] * 40},
            "image_row: expected rows in [0, 40), received 40; the predictions belong to another",
        ),
        (
            {"image_row": IDS, "class_ids": [[0]] * 40, "scores": [[1.0]] * 40},
            "image_row: expected integers, received string",
        ),
        (
            {"image_id": [*IDS[:-1], None], "class_ids": [[0]] * 40, "scores": [[1.0]] * 40},
            "image_id: expected no null, received 1",
        ),
    ],
)
def test_what_is_wrong_is_told_in_a_line(write, dataset, capsys, columns, problem):
    assert problem in told(capsys, write(columns), dataset)


def test_a_file_that_is_none(tmp_path, dataset, write, capsys):
    missing = tmp_path / "missing.parquet"
    assert told(capsys, missing, dataset) == f"{missing}: no such file of predictions"
    text = tmp_path / "predictions.csv"
    text.write_text("image_id,class_ids,scores\n")
    assert f"{text}: not a readable Parquet file" in told(capsys, text, dataset)
    cut = write(columns_of())
    cut.write_bytes(cut.read_bytes()[:-50])
    assert f"{cut}: not a readable Parquet file" in told(capsys, cut, dataset)
    empty = write(
        {name: values[:0] for name, values in WIDE.to_pydict().items()}
        | {
            "class_ids": pa.array([], pa.list_(pa.int32())),
            "scores": pa.array([], pa.list_(pa.float32())),
            "image_id": pa.array([], pa.string()),
        }
    )
    assert "received none for 40" in told(capsys, empty, dataset)


def test_wrong_settings_and_places(write, dataset, tmp_path, capsys):
    path = write(columns_of())
    assert "--set: trainer: unknown setting" in told(
        capsys, path, dataset, "--set", "trainer.epochs=1"
    )
    assert "--set: eval.k: expected greater than" in told(
        capsys, path, dataset, "--set", "eval.k=0"
    )
    run = tmp_path / "runs" / "trained"
    assert "both --run and --step" in told(capsys, path, dataset, "--run", str(run))
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    assert f"{run}: expected a folder of its own" in told(
        capsys, path, dataset, "--run", str(run), "--step", "1"
    )
    assert [entry.name for entry in run.iterdir()] == ["run.json"]


def test_predictions_that_say_that_they_are_of_another_dataset(tmp_path, dataset, capsys):
    path = tmp_path / "predictions.parquet"
    class_ids, scores = ranked(LOGITS)
    scores = sigmoid(scores).astype(np.float32)  # Such numbers may be anything else.
    batch = PredictionBatch(IDS, class_ids.astype(np.int32), scores)
    for digest in ("0123" * 16, dataset.content_digest):
        origin = PredictionOrigin(
            dataset_digest=digest,
            checkpoint_digest="c" * 64,
            score_kind=ScoreKind.LOG_PROBABILITY,
            k=6,
        )
        write_predictions(path, [batch], origin)
        if digest == dataset.content_digest:
            place = tmp_path / "runs" / "softmax", 1
            scored(path, dataset, place)
            written = read_origin(predictions_path(*place))
            assert written is not None
            assert written.score_kind is ScoreKind.LOG_PROBABILITY
            (kept,) = read_predictions(predictions_path(*place), 100)
            assert (kept.scores == scores).all()
        else:
            assert "received those for the dataset of content 012301230123" in told(
                capsys, path, dataset
            )


def test_with_a_run_the_evaluation_is_written_as_that_of_a_checkpoint(
    write, dataset, tmp_path, ours
):
    run, path = tmp_path / "runs" / "other", write(columns_of(sigmoid(LOGITS)))
    arguments = ["--run", str(run), "--step", "30", "--samples", "960"]
    assert cli.run(["score", str(path), "--dataset", str(dataset.root), *arguments]) == 0
    (summary,) = read_summaries(run, print)
    provenance = summary.provenance
    assert (provenance.step, provenance.samples) == (30, 960)
    assert provenance.checkpoint == str(path)
    assert summary.dataset.content_digest == dataset.content_digest
    assert summary.scores.weighted_map_class == pytest.approx(
        ours().scores.weighted_map_class, rel=1e-12
    )
    origin = read_origin(predictions_path(run, 30))
    assert origin is not None
    assert (origin.dataset_digest, origin.checkpoint_digest, origin.score_kind) == (
        dataset.content_digest,
        provenance.checkpoint_digest,
        ScoreKind.LOGIT,
    )
    (batch,) = read_predictions(predictions_path(run, 30), 100)
    assert batch.image_ids == IDS
    assert batch.scores == pytest.approx(ranked(LOGITS)[1], rel=1e-5)
    assert histories(run) == [summary.settings]
    assert read_history(run, summary.settings).evaluations.column("step").to_pylist() == [30]


def test_other_settings_stand_beside_and_other_predictions_take_the_place(write, dataset, tmp_path):
    place = tmp_path / "runs" / "other", 30
    first = write(columns_of())
    scored(first, dataset, place)
    written = predictions_path(*place)
    before = written.stat().st_mtime_ns
    narrow = scored(first, dataset, place, ["eval.k=2", "eval.precision_at=[1]"])
    assert written.stat().st_mtime_ns == before  # It holds more than 2 of each image.
    assert len(read_summaries(place[0], print)) == 2
    again = scored(write(columns_of(-LOGITS), "second.parquet"), dataset, place)
    assert read_summaries(place[0], print) == [again]
    assert again.provenance.checkpoint_digest != narrow.provenance.checkpoint_digest
    (batch,) = read_predictions(written, 100)
    assert batch.scores[0, 0] == pytest.approx(-LOGITS[0].min())


def test_a_folder_is_of_one_dataset_and_of_one_evaluation_at_a_time(
    write, dataset, make_dataset, tmp_path, capsys
):
    run, path = tmp_path / "runs" / "other", write(columns_of())
    scored(path, dataset, (run, 30))
    labels = {image_id: [0] for image_id in IDS}
    other = make_dataset(labels, [1] * len(NAMES), names=NAMES)
    arguments = ["--run", str(run), "--step", "31"]
    problem = told(capsys, path, other, *arguments)
    assert "its step 30 was scored on a dataset of content" in problem
    assert len(read_summaries(run, print)) == 1
    with sole_evaluation(predictions_path(run, 31)):
        assert "another evaluation" in told(capsys, path, dataset, *arguments)


def test_no_more_than_k_are_kept(write, dataset, tmp_path):
    place = tmp_path / "runs" / "other", 30
    scored(write(columns_of()), dataset, place, ["eval.k=2", "eval.precision_at=[1]"])
    (batch,) = read_predictions(predictions_path(*place), 100)
    assert batch.class_ids.shape == (IMAGES, 2)
    scored(write(columns_of()), dataset, place)  # Two do not suffice.
    (batch,) = read_predictions(predictions_path(*place), 100)
    assert batch.class_ids.shape == (IMAGES, 6)


def test_wrong_predictions_leave_nothing_behind(write, dataset, tmp_path, capsys):
    run = tmp_path / "runs" / "other"
    path = write(with_("image_id", 3, "00.jpg"))
    told(capsys, path, dataset, "--run", str(run), "--step", "1")
    assert not run.exists()
