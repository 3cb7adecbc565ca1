import subprocess
import sys

import pytest
from pydantic import ValidationError

from manylabel.eval.config import EvalConfig, MetricForm, UnknownKind, WeightKind, WeightsConfig


def test_defaults():
    config = EvalConfig()
    assert (config.k, config.precision_at, config.form) == (100, (1, 5, 10), MetricForm.CLASS)
    assert config.weights.kind is WeightKind.TRAINING_SHARE
    assert (config.unknown, config.keep_predictions) == (UnknownKind.NEGATIVE, 20)


def test_precision_ranks_are_kept_ascending():
    assert EvalConfig(precision_at=(10, 1)).precision_at == (1, 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 5}, r"precision_at=\[1, 5, 10\] needs 10 predictions an image, received k=5"),
        ({"precision_at": [2, 2]}, "expected different ranks"),
        ({"precision_at": [0]}, "greater than or equal to 1"),
        ({"k": 0}, "greater than or equal to 1"),
        ({"batch_size": 0}, "greater than or equal to 1"),
        ({"form": "both"}, "'image' or 'class'"),
        ({"unknown": "wrong"}, "'negative' or 'ignore'"),
        ({"keep_predictions": 0}, "greater than or equal to 1"),
        ({"map_at": 100}, "Extra inputs are not permitted"),
        ({"weights": {"kind": "csv"}}, "set csv: PATH"),
        ({"weights": {"csv": "w.csv"}}, "received kind training_share; remove csv or set"),
        ({"weights": {"kind": "uniform", "missing": 0}}, "remove missing or set kind: csv"),
        ({"weights": {"kind": "csv", "csv": "w", "missing": -1}}, "greater than or equal to 0"),
        ({"weights": {"kind": "csv", "csv": "w", "missing": "nan"}}, "finite number"),
    ],
)
def test_contradictions_name_the_key_and_the_fix(settings, message):
    with pytest.raises(ValidationError, match=message):
        EvalConfig.model_validate(settings)


def test_settings_cannot_change():
    with pytest.raises(ValidationError, match="frozen"):
        EvalConfig().k = 5  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        WeightsConfig().csv = "w"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("manylabel.eval.config", ["numpy", "pyarrow", "matplotlib", "tensorflow"]),
        ("manylabel.eval.job", ["matplotlib", "sklearn", "tensorflow", "apache_beam", "ray"]),
        (
            "manylabel.eval.figures",
            ["sklearn", "tensorflow", "apache_beam", "ray", "matplotlib.pyplot"],
        ),
    ],
)
def test_a_module_loads_only_what_it_needs(module, heavy):
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")
