"""Class weights: shares of training labels, or a file."""

import pytest

from preprocessing.config import WeightConfig
from preprocessing.errors import PreprocessingError
from preprocessing.labels import LabelCount
from preprocessing.weights import class_weights, read_weights

CLASSES = [LabelCount("cat", 3, 9), LabelCount("dog", 1, 0)]


def config_of(tmp_path, text, **settings):
    path = tmp_path / "weights.csv"
    path.write_text(text)
    return WeightConfig(path=str(path), **settings)


def test_without_a_file_weights_are_shares_of_the_training_labels():
    config = WeightConfig()
    assert read_weights(config) is None
    assert class_weights(CLASSES, None, config) == [0.75, 0.25]


def test_weights_from_a_file(tmp_path):
    config = config_of(tmp_path, "weight,label\n2.5,cat \n0,dog\n7,other\n")
    assert class_weights(CLASSES, read_weights(config), config) == [2.5, 0.0]


def test_columns_are_settings(tmp_path):
    config = config_of(tmp_path, "a,b\n1,cat\n2,dog\n", label_column="b", weight_column="a")
    assert class_weights(CLASSES, read_weights(config), config) == [1.0, 2.0]


def test_labels_that_the_file_misses(tmp_path):
    text = "label,weight\ncat,1\n"
    config = config_of(tmp_path, text)
    with pytest.raises(
        PreprocessingError, match="no weight for 1 of 2 classes, the first is 'dog'"
    ):
        class_weights(CLASSES, read_weights(config), config)
    config = config_of(tmp_path, text, missing=0.5)
    assert class_weights(CLASSES, read_weights(config), config) == [1.0, 0.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,weight\ncat,heavy\n", "line 2: expected a weight .* received 'heavy'"),
        ("label,weight\ncat,-1\n", "line 2: expected a weight"),
        ("label,weight\ncat,nan\n", "line 2: expected a weight"),
        ("label,weight\ncat,inf\n", "line 2: expected a weight"),
        ("label,weight\ncat,1\ncat,1\n", "line 3: 'cat' is listed twice"),
        ("name,weight\n", "expected a column 'label'"),
        ("", r"received columns \[\]"),
    ],
)
def test_broken_files(tmp_path, text, message):
    with pytest.raises(PreprocessingError, match=message):
        read_weights(config_of(tmp_path, text))


def test_a_missing_file():
    with pytest.raises(PreprocessingError, match="no such file; set preprocessing"):
        read_weights(WeightConfig(path="nowhere.csv"))
