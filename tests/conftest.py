"""What every test can rely on: quiet TensorFlow, no plotting window, the pictures we ship."""

import os
from pathlib import Path

import pytest

# Before anything imports TensorFlow or matplotlib, in this process or a child.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # Its rounding differs between machines.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("MPLBACKEND", "agg")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def openclipart() -> Path:
    """The folder with labels.csv, credits.csv, images/ and odd/."""
    return REPOSITORY / "examples" / "openclipart"
