"""Commands in the environments that users of clusters have, in processes of their own."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration


def run(script: str, **environment: str) -> str:
    """What a process prints that does first what every command does."""
    first = "from manylabel.pipeline.quiet import quiet_libraries; quiet_libraries()\n"
    done = subprocess.run(
        [sys.executable, "-P", "-c", first + script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_user_s_own_settings_of_keras(tmp_path):
    own = {"backend": "jax", "image_data_format": "channels_first", "floatx": "float16"}
    (tmp_path / "keras.json").write_text(json.dumps(own))
    script = "import keras.config as k; print(k.backend(), k.image_data_format(), k.floatx())"
    printed = run(script, KERAS_HOME=str(tmp_path), KERAS_BACKEND="torch")
    assert printed == "tensorflow channels_last float32"


def test_warnings_that_the_user_s_shell_makes_errors():
    """Libraries warn while they are imported."""
    script = "import warnings; warnings.warn('old', ImportWarning); print('PYTHONWARNINGS' in "
    assert run(f"{script}__import__('os').environ)", PYTHONWARNINGS="error") == "False"


def test_a_home_that_cannot_be_written():
    """Compiled loops, Keras and plots do without, and say nothing of it."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MPLCONFIGDIR", "KERAS_HOME")}
    script = "from manylabel.pipeline.quiet import quiet_libraries; quiet_libraries()\n"
    script += "import matplotlib.pyplot, manylabel.eval.ranking.kernels"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={**environment, "HOME": os.devnull, "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
