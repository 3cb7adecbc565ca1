"""Files that may be read, and those that may not."""

import errno
import os

import pytest
from upath import UPath

from manylabel.preprocessing.catalogs import image_root
from manylabel.preprocessing.config import CatalogConfig
from manylabel.preprocessing.fetch import fetch, file_digest
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "images"
    (root / "a").mkdir(parents=True)
    (root / "a" / "good.jpg").write_bytes(b"12345")
    (root / "empty.jpg").touch()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "link-out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "folder-out").symlink_to(tmp_path)
    (root / "link-in.jpg").symlink_to(root / "a" / "good.jpg")
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    (root / "dangling.jpg").symlink_to(root / "nothing.jpg")
    os.mkfifo(root / "pipe.jpg")
    return UPath(root)


@pytest.mark.parametrize("image_id", ["a/good.jpg", "link-in.jpg"])
def test_files_below_the_root(root, image_id):
    assert fetch(root, image_id, 5) == b"12345"


@pytest.mark.parametrize(
    ("image_id", "reason"),
    [
        ("missing.jpg", RejectReason.MISSING_FILE),
        ("a/good.jpg/more", RejectReason.MISSING_FILE),
        ("x" * 5000, RejectReason.MISSING_FILE),
        ("dangling.jpg", RejectReason.MISSING_FILE),
        ("empty.jpg", RejectReason.EMPTY_FILE),
        ("a", RejectReason.UNREADABLE_FILE),
        ("pipe.jpg", RejectReason.UNREADABLE_FILE),
        ("loop.jpg", RejectReason.UNREADABLE_FILE),
        ("link-out.jpg", RejectReason.BAD_PATH),
        ("folder-out/secret.jpg", RejectReason.BAD_PATH),
    ],
)
def test_what_cannot_be_read_has_a_reason(root, image_id, reason):
    with pytest.raises(ImageRejectedError) as error:
        fetch(root, image_id, 5)
    assert error.value.reason is reason


@pytest.mark.parametrize("protocol", ["file", "local"])
def test_local_roots_are_guarded_however_they_are_spelled(root, protocol):
    spelled = image_root(CatalogConfig(path=f"{protocol}://{root}"))
    assert fetch(spelled, "link-in.jpg", 5) == b"12345"
    with pytest.raises(ImageRejectedError, match="is a link to") as error:
        fetch(spelled, "link-out.jpg", 5)
    assert error.value.reason is RejectReason.BAD_PATH


def test_a_remote_file_that_is_missing_has_a_reason():
    root = UPath("memory://images")
    (root / "there.jpg").write_bytes(b"1")
    assert fetch(root, "there.jpg", 5) == b"1"
    with pytest.raises(ImageRejectedError) as error:
        fetch(root, "missing.jpg", 5)
    assert error.value.reason is RejectReason.MISSING_FILE


def test_size_is_tested_before_reading(root):
    with pytest.raises(ImageRejectedError, match=r"5 bytes, images\.max_bytes is 4") as error:
        fetch(root, "a/good.jpg", 4)
    assert error.value.reason is RejectReason.TOO_MANY_BYTES


def test_a_failing_disk_is_not_the_image_s_fault():
    """A regular file that can be opened, and whose first bytes no one can read."""
    with pytest.raises(OSError, match=r"Input/output error: '/proc/.*/mem'") as error:
        fetch(UPath("/proc/self").resolve(), "mem", 5)
    assert error.value.errno == errno.EIO


def test_digests_tell_files_apart():
    assert file_digest(b"a") == file_digest(b"a") != file_digest(b"b")
