import math

import numpy as np
import pyarrow as pa
import pytest

from manylabel.eval.config import WeightKind, WeightsConfig
from manylabel.eval.errors import EvaluationError
from manylabel.eval.ranking.weights import normalised, raw_weights

NAMES = ["dog", 'a, "b"', "café"]
LABELS = pa.table({"name": NAMES, "train_count": [6, 3, 1]})


def class_weights(config, labels):
    return normalised(raw_weights(config, labels))


def from_csv(tmp_path, text, **settings):
    path = tmp_path / "weights.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return class_weights(WeightsConfig(kind="csv", csv=str(path), **settings), LABELS)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (WeightKind.UNIFORM, [1, 1, 1]),
        (WeightKind.TRAINING_SHARE, [6, 3, 1]),
        (WeightKind.TRAINING_LOG_COUNT, [math.log(7), math.log(4), math.log(2)]),
    ],
)
def test_weights_from_the_label_table(kind, expected):
    weights = class_weights(WeightsConfig(kind=kind), LABELS)
    np.testing.assert_allclose(weights, np.array(expected) / sum(expected), rtol=1e-12)


def test_csv_labels_are_matched_as_preprocessing_normalises_them(tmp_path):
    # A byte-order mark, a decomposed accent, spaces, quotes, a label the dataset lacks, blanks.
    text = '\ufefflabel,weight\r\n cafe\u0301 ,1\r\n"a, ""b""",2e0\r\ndog,5\r\n\r\ncat,9\r\n'
    np.testing.assert_allclose(from_csv(tmp_path, text), [5 / 8, 2 / 8, 1 / 8])


def test_a_missing_label_is_an_error_or_has_the_given_weight(tmp_path):
    text = "label,weight\ndog,3\n"
    with pytest.raises(EvaluationError, match=r"no weight for 2 of 3 labels.*weights\.missing"):
        from_csv(tmp_path, text)
    np.testing.assert_allclose(from_csv(tmp_path, text, missing=1), [0.6, 0.2, 0.2])


def test_large_weights_stay_finite(tmp_path):
    weights = from_csv(tmp_path, "label,weight\ndog,1.7e308\n", missing=1.7e308)
    np.testing.assert_allclose(weights, [1 / 3] * 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,weight\ndog,-1\n", "line 2: expected a finite weight of 0 or more for 'dog'"),
        ("label,weight\ndog,nan\n", "received 'nan'"),
        ("label,weight\ndog,inf\n", "received 'inf'"),
        ("label,weight\ndog,many\n", "received 'many'"),
        ("label,weight\ndog\n", "line 2: expected label,weight, received 1 fields"),
        ("label,weight\ndog,1\n dog,2\n", "line 3: label 'dog' has a weight already"),
        ("name,weight\ndog,1\n", "expected the header label,weight"),
        ("", "expected the header label,weight"),
        (b"label,weight\nd\xf6g,1\n", "expected CSV in UTF-8"),
        ("label,weight\ndog,0\n", "expected at least one above 0, received 3 zeros"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    with pytest.raises(EvaluationError, match=message):
        from_csv(tmp_path, text, missing=0)


def test_a_missing_file_is_named():
    config = WeightsConfig(kind=WeightKind.CSV, csv="nowhere/weights.csv")
    with pytest.raises(EvaluationError, match=r"nowhere/weights.csv: no such file"):
        class_weights(config, LABELS)


def test_no_training_counts_at_all():
    labels = pa.table({"name": NAMES, "train_count": [0, 0, 0]})
    with pytest.raises(EvaluationError, match="kind training_share: expected at least one"):
        class_weights(WeightsConfig(), labels)
