"""Names in documents that are joined to a folder."""

import pytest

from manylabel.storage.locations import own_path_below, path_below


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


@pytest.mark.parametrize("path", ["a\u2028b", "train/\x1b[2J", "a\nb", "\ud800", "../a"])
def test_a_file_of_ours_has_a_name_that_can_be_shown(path):
    assert own_path_below("train/train-00000-of-00001.tfrecord")
    with pytest.raises(ValueError, match="expected"):
        own_path_below(path)
