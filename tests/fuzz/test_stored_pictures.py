"""What preprocessing stores, training decodes: one that it cannot would end an evaluation."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from manylabel.preprocessing.pictures.images import examine, store
from manylabel.preprocessing.rejections import ImageRejectedError
from manylabel.trainer.records.augment import evaluation_image, training_image
from manylabel.trainer.records.config import AugmentationConfig, FramingConfig
from tests.fuzz._damage import damaged
from tests.fuzz._target import ACCEPTED, Target, fuzz
from tests.fuzz.test_images import POLICY, WORDS
from tests.fuzz.test_images import SOUND as PICTURES

pytestmark = pytest.mark.slow

SOUND = [data for data in PICTURES if data.startswith(b"\xff\xd8")]
KEY = tf.constant([3, 4], tf.int64)


def check(data, folder):
    try:
        examine(data, POLICY)
        stored = store(data, POLICY)
    except ImageRejectedError as rejected:
        return str(rejected.reason)
    encoded = tf.constant(stored.encoded)
    for image in (
        evaluation_image(encoded, 16, FramingConfig()),
        training_image(encoded, 16, KEY, FramingConfig(), AugmentationConfig()),
    ):
        assert image.shape == (16, 16, 3)
        assert np.abs(image).max() <= 1
    return ACCEPTED


CASES = damaged(SOUND, WORDS) | st.sampled_from(SOUND)
TARGET = Target("stored_pictures", CASES, check)


def test_stored_pictures(tmp_path):
    fuzz(TARGET, tmp_path / "case", 25, sound=SOUND)
