import json

import pyarrow as pa
import pytest

from manylabel.eval.config import EvalConfig
from manylabel.eval.errors import EvaluationError
from manylabel.eval.store import (
    CLASSES_SCHEMA,
    evaluation_directory,
    read_classes,
    read_summaries,
    read_summary,
    write_evaluation,
)
from manylabel.eval.summary import DatasetReference, EvaluationSummary, ScoredCounts, Scores

NO_CLASSES = pa.table({name: [] for name in CLASSES_SCHEMA.names})


@pytest.fixture
def summary(provenance):
    def scores(value):
        return Scores(
            weighted_map_image=value,
            weighted_map_class=value / 3,
            map_image=value,
            map_class=value,
            recall=value,
            precision={1: value, 10: value / 7},
        )

    return EvaluationSummary(
        provenance=provenance,
        dataset=DatasetReference(root="s3://bucket/dataset", fingerprint="0123"),
        config=EvalConfig(),
        counts=ScoredCounts(
            images=3,
            images_without_labels=1,
            images_without_weight=0,
            labels=9,
            classes=4,
            classes_with_images=2,
        ),
        scores=scores(0.1 + 0.2),
        baseline=scores(1 / 3),
    )


def test_a_summary_comes_back_equal_to_the_last_bit(tmp_path, summary):
    write_evaluation(tmp_path, summary, NO_CLASSES)
    assert read_summary(tmp_path, summary.provenance.step) == summary


def test_an_evaluation_without_its_summary_is_not_there(tmp_path, summary):
    directory = write_evaluation(tmp_path, summary, NO_CLASSES)
    (directory / "summary.json").unlink()
    assert read_summaries(tmp_path) == []
    with pytest.raises(EvaluationError, match="no such evaluation; run `manylabel evaluate`"):
        read_classes(tmp_path, 20)
    assert read_summaries(tmp_path / "no such run") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "expected format version 1, received 2"),
        ({"scores": {}}, r"not an evaluation summary \(scores.weighted_map_image"),
    ],
)
def test_a_damaged_summary_is_named(tmp_path, summary, change, message):
    write_evaluation(tmp_path, summary, NO_CLASSES)
    path = evaluation_directory(tmp_path, 20) / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EvaluationError, match=message) as caught:
        read_summaries(tmp_path)
    assert str(path) in str(caught.value)


def test_a_summary_cut_short_is_named(tmp_path, summary):
    write_evaluation(tmp_path, summary, NO_CLASSES)
    path = evaluation_directory(tmp_path, 20) / "summary.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(EvaluationError, match=r"not an evaluation summary \(the file"):
        read_summary(tmp_path, 20)


def test_other_columns_are_not_written(tmp_path, summary):
    with pytest.raises(ValueError, match="schema"):
        write_evaluation(tmp_path, summary, pa.table({"id": [1]}))
    assert list(evaluation_directory(tmp_path, 20).iterdir()) == []
