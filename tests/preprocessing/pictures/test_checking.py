"""What is kept of a picture that was looked at."""

import os

from upath import UPath

from manylabel.preprocessing.pictures.checking import check_image
from manylabel.storage.image_policy import ImageConfig


def test_a_link_to_a_name_that_is_not_utf8(tmp_path):
    """What is said of it can be kept in a table."""
    os.symlink(b"/nowhere/\xff.jpg", os.fsencode(tmp_path / "a.jpg"))
    facts = check_image("a.jpg", UPath(tmp_path), ImageConfig())
    assert facts.detail is not None
    assert "\\udcff" in facts.detail
    facts.detail.encode()
