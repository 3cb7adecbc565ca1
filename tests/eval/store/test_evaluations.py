import json
from dataclasses import replace

import pyarrow as pa
import pytest

from manylabel.eval.config import EvalConfig, MetricForm
from manylabel.eval.errors import EvaluationError
from manylabel.eval.store.evaluations import (
    CLASSES_SCHEMA,
    IMAGES_SCHEMA,
    PARTS_SCHEMA,
    POSITIVES_SCHEMA,
    EvaluationTables,
    evaluation_directory,
    forget_others,
    read_classes,
    read_summaries,
    read_summary,
    write_evaluation,
)
from manylabel.eval.store.summary import (
    DatasetReference,
    EvaluationSummary,
    Headline,
    Interval,
    ScoredCounts,
    Scores,
)
from manylabel.storage.errors import DocumentError

SETTINGS = "uniform-0123456789ab"
EMPTY = EvaluationTables(
    CLASSES_SCHEMA.empty_table(),
    IMAGES_SCHEMA.empty_table(),
    POSITIVES_SCHEMA.empty_table(),
    PARTS_SCHEMA.empty_table(),
)
INTERVALS = {form: Interval(standard_error=None, low=None, high=None) for form in MetricForm}


def raise_it(error):
    raise error


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
        headline=Headline.of(MetricForm.CLASS, 100, scores(0.1 + 0.2), scores(1 / 3), INTERVALS),
        settings=SETTINGS,
        provenance=provenance,
        dataset=DatasetReference(root="s3://bucket/dataset", content_digest="0123"),
        config=EvalConfig(),
        counts=ScoredCounts(
            images=3,
            images_without_labels=1,
            images_without_weight=0,
            labels=9,
            classes=4,
            classes_with_images=2,
            near_duplicate_groups=3,
            parts=3,
        ),
        scores=scores(0.1 + 0.2),
        baseline=scores(1 / 3),
        intervals=INTERVALS,
    )


def test_a_summary_comes_back_equal_to_the_last_bit(tmp_path, summary):
    write_evaluation(tmp_path, summary, EMPTY)
    assert read_summary(tmp_path, summary.provenance.step, SETTINGS) == summary


def test_an_evaluation_without_its_summary_is_not_there(tmp_path, summary):
    directory = write_evaluation(tmp_path, summary, EMPTY)
    (directory / "summary.json").unlink()
    assert read_summaries(tmp_path, raise_it) == []
    with pytest.raises(EvaluationError, match="no such evaluation; run `manylabel evaluate`"):
        read_classes(tmp_path, 20, SETTINGS)
    assert read_summaries(tmp_path / "no such run", raise_it) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format_version": 1},
            "summary of format version 3, received version 1; evaluate",
        ),
        ({"scores": {}}, r"not an evaluation summary \(scores.weighted_map_image"),
        ({"config": {"form": "image"}}, "the headline is not that of the scores"),
    ],
)
def test_a_damaged_summary_is_named(tmp_path, summary, change, message):
    write_evaluation(tmp_path, summary, EMPTY)
    path = evaluation_directory(tmp_path, 20, SETTINGS) / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DocumentError, match=message) as caught:
        read_summaries(tmp_path, raise_it)
    assert str(path) in str(caught.value)


def test_a_summary_cut_short_is_named(tmp_path, summary):
    write_evaluation(tmp_path, summary, EMPTY)
    path = evaluation_directory(tmp_path, 20, SETTINGS) / "summary.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(DocumentError, match=r"not an evaluation summary \(the file"):
        read_summary(tmp_path, 20, SETTINGS)


def test_other_columns_are_not_written(tmp_path, summary):
    with pytest.raises(ValueError, match="schema"):
        write_evaluation(tmp_path, summary, replace(EMPTY, parts=pa.table({"id": [1]})))
    assert not evaluation_directory(tmp_path, 20, SETTINGS).exists()


def test_settings_stand_side_by_side_and_another_checkpoint_takes_the_place(tmp_path, summary):
    other = summary.model_copy(update={"settings": "csv-0123456789ab"})
    for each in (summary, other):
        write_evaluation(tmp_path, each, EMPTY)
    assert read_summaries(tmp_path, raise_it) == [other, summary]
    forget_others(tmp_path, 20, summary.provenance.checkpoint_digest)
    assert read_summaries(tmp_path, raise_it) == [other, summary]
    forget_others(tmp_path, 20, "d" * 64)
    assert read_summaries(tmp_path, raise_it) == []


def test_one_that_cannot_be_read_hides_no_other(tmp_path, summary):
    other = summary.model_copy(update={"settings": "csv-0123456789ab"})
    for each in (summary, other):
        write_evaluation(tmp_path, each, EMPTY)
    (evaluation_directory(tmp_path, 20, SETTINGS) / "summary.json").write_text("{}")
    unreadable: list[Exception] = []
    assert read_summaries(tmp_path, unreadable.append) == [other]
    (error,) = unreadable
    assert SETTINGS in str(error)
