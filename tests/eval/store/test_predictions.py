import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.eval.errors import EvaluationError
from manylabel.eval.store.predictions import (
    PREDICTIONS_SCHEMA,
    PredictionBatch,
    PredictionOrigin,
    ScoreKind,
    read_origin,
    read_predictions,
    write_predictions,
)
from manylabel.storage.errors import TableError

ORIGIN = PredictionOrigin(
    dataset_digest="abc", checkpoint_digest="def", score_kind=ScoreKind.LOGIT, k=4
)


def batch(class_ids, scores, image_ids=None) -> PredictionBatch:
    image_ids = image_ids or [f"image {row}" for row in range(len(class_ids))]
    return PredictionBatch(image_ids, np.array(class_ids, np.int32), np.array(scores, np.float32))


def test_equal_scores_alone_are_put_in_the_order_of_class_ids():
    ranked = batch([[4, 9, 3], [1, 2, 3]], [[0.5, 0.1, 0.1], [1, 1, 1]])
    assert ranked.class_ids.tolist() == [[4, 3, 9], [1, 2, 3]]


def test_rows_are_put_best_first_and_ties_by_class_id():
    ranked = batch([[7, 2, 5], [1, 2, 3]], [[0.5, 0.5, 0.9], [3, 2, 1]])
    assert ranked.class_ids.tolist() == [[5, 2, 7], [1, 2, 3]]
    np.testing.assert_array_equal(ranked.scores, np.array([[0.9, 0.5, 0.5], [3, 2, 1]], np.float32))


@pytest.mark.parametrize(
    ("class_ids", "scores", "message"),
    [
        ([[3, 1, 3]], [[3, 2, 1]], r"image 'image 0': expected each class once, received 3"),
        ([[1], [2]], [[0.1], [np.nan]], r"image 'image 1': expected finite scores, received nan"),
        ([[1, 2]], [[np.inf, 0]], "expected finite scores, received inf"),
        ([[1, -1]], [[1, 0]], "expected class ids of 0 or more, received -1"),
        ([[1, 2]], [[1]], r"scores of shape \[1, 1\] and class ids of shape \[1, 2\]"),
        ([[]], [[]], r"\[1, k\] with k >= 1 for 1 images, received \[1, 0\]"),
        ([1, 2], [1, 2], r"received \[2\]"),
    ],
)
def test_bad_rows_are_refused(class_ids, scores, message):
    with pytest.raises(EvaluationError, match=message):
        batch(class_ids, scores)


def test_other_number_types_are_refused():
    with pytest.raises(EvaluationError, match="received int64 and float32"):
        PredictionBatch(["a"], np.array([[1]]), np.array([[1]], np.float32))


def test_what_is_written_is_read_in_batches_of_any_size(tmp_path):
    path = tmp_path / "evals" / "predictions.parquet"
    rng = np.random.default_rng(0)
    class_ids = np.argsort(rng.random((25, 9)), axis=1).astype(np.int32)[:, :4]
    scores = -np.sort(-rng.random((25, 4)).astype(np.float32), axis=1)
    image_ids = [f"été/{row}.jpg" for row in range(25)]
    batches = (
        batch(class_ids[at : at + 10], scores[at : at + 10], image_ids[at : at + 10])
        for at in (0, 10, 20)
    )
    assert write_predictions(path, batches, ORIGIN) == 25
    assert pq.read_schema(path).equals(PREDICTIONS_SCHEMA)
    assert read_origin(path) == ORIGIN
    for size in (1, 7, 100):
        read = list(read_predictions(path, size))
        assert max(len(part.image_ids) for part in read) == min(size, 25)
        assert [name for part in read for name in part.image_ids] == image_ids
        np.testing.assert_array_equal(np.concatenate([p.class_ids for p in read]), class_ids)
        np.testing.assert_array_equal(np.concatenate([p.scores for p in read]), scores)


def test_a_failed_write_leaves_the_older_file_and_nothing_else(tmp_path):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, [batch([[0]], [[1]])], ORIGIN)

    def interrupted():
        yield batch([[1]], [[1]])
        raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError, match="the device is gone"):
        write_predictions(path, interrupted(), ORIGIN.model_copy(update={"k": 9}))
    assert read_origin(path) == ORIGIN
    assert [entry.name for entry in tmp_path.iterdir()] == ["predictions.parquet"]


def write_table(path, image_id, class_ids, scores):
    columns = {
        "image_id": image_id,
        "class_ids": pa.array(class_ids, pa.list_(pa.int64())),
        "scores": pa.array(scores, pa.list_(pa.float64())),
    }
    pq.write_table(pa.table(columns), path)


def test_wider_types_of_another_tool_are_read(tmp_path):
    path = tmp_path / "other.parquet"
    write_table(path, ["a"], [[4, 2]], [[0.1, 0.7]])
    (read,) = read_predictions(path, 8)
    assert read_origin(path) is None
    assert read.class_ids.dtype == np.int32
    assert read.class_ids.tolist() == [[2, 4]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((["a", "b"], [[1, 2], [1]], [[2, 1], [1]]), "as many predictions for every image"),
        ((["a"], [[1, None]], [[2, 1]]), "1 nulls"),
        ((["a"], [[1, 1]], [[2, 1]]), "each class once"),
        ((["a"], [[2**40]], [[1]]), "expected columns of types"),
        ((["a", None], [[1], [1]], [[1], [1]]), "expected columns of types"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, columns, message):
    path = tmp_path / "other.parquet"
    write_table(path, *columns)
    with pytest.raises(EvaluationError, match=message) as caught:
        list(read_predictions(path, 8))
    assert str(path) in str(caught.value)


def test_files_that_are_no_predictions_are_refused(tmp_path):
    path = tmp_path / "predictions.parquet"
    with pytest.raises(EvaluationError, match="no such file of predictions"):
        read_origin(path)
    path.write_text("image_id\n")
    with pytest.raises(TableError, match="not a readable Parquet file"):
        list(read_predictions(path, 8))
    pq.write_table(pa.table({"image_id": ["a"]}), path)
    with pytest.raises(EvaluationError, match=r"expected columns .*'scores'"):
        list(read_predictions(path, 8))


def test_a_damaged_file_is_refused_by_name_wherever_the_damage_is(tmp_path):
    """Metadata, page headers and compressed pages fail in different ways in the reader."""
    path = tmp_path / "predictions.parquet"
    class_ids = np.arange(100, dtype=np.int32).reshape(50, 2)
    scores = (-class_ids / 7).astype(np.float32)
    write_predictions(
        path, [PredictionBatch([f"{n}.jpg" for n in range(50)], class_ids, scores)], ORIGIN
    )
    data = path.read_bytes()
    refused = 0
    for place in range(0, len(data), 5):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            read = list(read_predictions(path, 8))
        except (EvaluationError, TableError) as error:
            refused += str(path) in str(error) and "\n" not in str(error)
        else:  # The damage is in what is not read: the origin, the checksums of other columns.
            np.testing.assert_array_equal(np.concatenate([p.class_ids for p in read]), class_ids)
            np.testing.assert_array_equal(np.concatenate([p.scores for p in read]), scores)
    assert refused > len(data) // 50
