"""Names in documents that are joined to a folder."""

import pytest

from manylabel.storage.locations import path_below


@pytest.mark.parametrize("path", ["a", "train/a.tfrecord", "a b/c:d", "...", "a/..b", "./a", "ü"])
def test_a_path_below_stays_as_it_is(path):
    assert path_below(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "/", "./.", "..", "../a", "a/../../b", "a/..", "/etc/passwd", "//host/a"),
        *("a\0b", "s3://bucket/a", "s3:/a", "file:///etc/passwd", "memory://a"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path):
    with pytest.raises(ValueError, match="expected a path below its folder, received"):
        path_below(path)
