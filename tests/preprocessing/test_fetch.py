"""Files that may be read, and those that may not; paths that look like something else."""

import errno
import functools
import http.server
import os
import socket
import threading
import unicodedata

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import image_root
from manylabel.preprocessing.pictures.fetch import fetch, file_digest, root_of
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.storage.schema import SplitName

LOOK_LIKE_SOMETHING_ELSE = [
    *("season:/a.jpg", "s3:/bucket/a.jpg", "http:/a.jpg", "memory:/a.jpg", "file:/a.jpg"),
    *("~", "~/a.jpg", "~root/a.jpg", "C:/a.jpg", "a::b.jpg", "zip::a.jpg", "a#b?c=%20.jpg"),
    *("data:image,a.jpg", "*.jpg", "[a].jpg", "{a,b}.jpg", "$HOME.jpg", "-a.jpg", " a.jpg ", "\n"),
    *("é.jpg", "\ufeffa.jpg", "a\\b.jpg", "x" * 255),
]


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "images"
    (root / "a").mkdir(parents=True)
    (root / "a" / "good.jpg").write_bytes(b"12345")
    (root / "empty.jpg").touch()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "images-2").mkdir()
    (tmp_path / "images-2" / "secret.jpg").write_bytes(b"secret")
    (root / "link-out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "folder-out").symlink_to(tmp_path)
    (root / "beside").symlink_to(tmp_path / "images-2")
    (root / "link-in.jpg").symlink_to(root / "a" / "good.jpg")
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    (root / "dangling.jpg").symlink_to(root / "nothing.jpg")
    os.mkfifo(root / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(root / "socket.jpg"))
    return UPath(root)


def rejection(root, image_id, max_bytes=5):
    with pytest.raises(ImageRejectedError) as error:
        fetch(root, image_id, max_bytes)
    assert len(error.value.detail) < 1000
    return error.value


@pytest.mark.parametrize("image_id", ["a/good.jpg", "link-in.jpg"])
def test_files_below_the_root(root, image_id):
    assert fetch(root, image_id, 5) == b"12345"


@pytest.mark.parametrize(
    ("image_id", "reason"),
    [
        ("missing.jpg", RejectReason.MISSING_FILE),
        ("a/good.jpg/more", RejectReason.MISSING_FILE),
        ("x" * 256, RejectReason.MISSING_FILE),
        ("x/" * 5000, RejectReason.MISSING_FILE),
        # To look for links in it would take longer than a test may.
        ("data:image/jpeg;base64," + "A/+" * 1_000_000, RejectReason.MISSING_FILE),
        ("dangling.jpg", RejectReason.MISSING_FILE),
        ("empty.jpg", RejectReason.EMPTY_FILE),
        ("a", RejectReason.UNREADABLE_FILE),
        ("pipe.jpg", RejectReason.UNREADABLE_FILE),
        ("socket.jpg", RejectReason.UNREADABLE_FILE),
        ("loop.jpg", RejectReason.UNREADABLE_FILE),
        ("link-out.jpg", RejectReason.BAD_PATH),
        ("folder-out/secret.jpg", RejectReason.BAD_PATH),
        ("beside/secret.jpg", RejectReason.BAD_PATH),
        ("../secret.jpg", RejectReason.BAD_PATH),
        ("/etc/passwd", RejectReason.BAD_PATH),
        ("/dev/zero", RejectReason.BAD_PATH),
        ("a\0.jpg", RejectReason.BAD_PATH),
        ("a\ud800.jpg", RejectReason.BAD_PATH),
        # URLs are rejected before (rows.image_id_of); here they are names like others.
        ("https:/example.com/a.jpg", RejectReason.MISSING_FILE),
        ("s3:/" + "a" * 100_000, RejectReason.MISSING_FILE),
    ],
)
def test_what_cannot_be_read_has_a_reason(root, image_id, reason):
    assert rejection(root, image_id).reason is reason


@pytest.mark.parametrize("image_id", LOOK_LIKE_SOMETHING_ELSE)
@pytest.mark.parametrize("remote", [False, True])
def test_a_path_is_never_read_as_anything_else(root, image_id, remote):
    if remote:
        root = UPath("memory://odd")
        root.fs.store.clear()
        root.fs.pipe(f"/odd/{image_id}", b"12345")
        assert rejection(root, f"{image_id}/missing").reason is RejectReason.MISSING_FILE
    else:
        assert rejection(root, image_id).reason is RejectReason.MISSING_FILE
        path = os.path.join(str(root), image_id)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"12345")
    assert fetch(root, image_id, 5) == b"12345"


@pytest.mark.parametrize(
    ("image_id", "there", "remark"),
    [
        ("b\\c.jpg", "b/c.jpg", "with / for \\"),
        ("b/c.jpg ", "b/c.jpg", "without spaces around its name"),
        ("b/ c.jpg", "b/c.jpg", "without spaces around its name"),
        ("b/c.jpg", "b/c.JPG", "with its suffix in the other case"),
        ("b/c", "b/c.jpg", "that ends in .jpg, which image_suffix can add"),
        ("b/c%20d.jpg", "b/c d.jpg", "without the escapes of a URL"),
        ("B/Cd.JPG", "b/cd.jpg", "in lower case"),
        ("b/c", "b/c.png", "that ends in .png, which image_suffix can add"),
        ("pictures/b/c.jpg", "b/c.jpg", "without the first folder of its path"),
    ],
)
def test_a_missing_file_that_is_there_in_another_way(root, image_id, there, remark):
    before = rejection(root, image_id).detail
    (root / there).parent.mkdir(exist_ok=True)
    (root / there).write_bytes(b"1")
    after = rejection(root, image_id)
    assert (after.reason, after.detail) == (
        RejectReason.MISSING_FILE,
        f"{before}; there is one {remark}",
    )


def test_a_side_alone_has_its_root():
    """As of held-out shards that are written again."""
    assert root_of(SplitName.HELDOUT, {SplitName.HELDOUT: 1}) == 1
    assert root_of(SplitName.HELDOUT, {SplitName.TRAIN: 2}) == 2


def test_a_missing_file_that_is_there_from_the_folder_above(root):
    """Which goes before a path that is mended by taking its first folder off."""
    (root / "below").mkdir()
    (root / "below" / "good.jpg").touch()
    detail = rejection(root / "below", "a/good.jpg").detail
    assert detail.endswith(f"; there is one from {root} on, the folder above the image root")


@pytest.mark.parametrize("listed", ["NFC", "NFD", "mixed"])
@pytest.mark.parametrize("lies", ["NFC", "NFD"])
@pytest.mark.parametrize("remote", [False, True])
def test_a_name_is_found_in_either_unicode_form(root, remote, listed, lies):
    """A catalog made on a Mac, and pictures that came by an archive, say."""
    name = "übung/한/é.jpg"
    folder, rest = (unicodedata.normalize(form, name).split("/", 1) for form in ("NFC", "NFD"))
    mixed = f"{folder[0]}/{rest[1]}"
    image_id = mixed if listed == "mixed" else unicodedata.normalize(listed, name)
    there = unicodedata.normalize(lies, name)
    root = UPath("memory://forms") if remote else root
    if remote:
        root.fs.store.clear()
        root.fs.pipe(f"/forms/{there}", b"12345")
    else:
        (root / there).parent.mkdir(parents=True)
        (root / there).write_bytes(b"12345")
    assert fetch(root, image_id, 5) == b"12345"
    assert rejection(root, f"{image_id}x").reason is RejectReason.MISSING_FILE


def test_what_is_found_in_the_other_form_is_guarded_as_well(root):
    name = unicodedata.normalize("NFD", "é.jpg")
    (root / name).symlink_to(root.parent / "secret.jpg")
    for form in ("NFC", "NFD"):
        assert rejection(root, unicodedata.normalize(form, name)).reason is RejectReason.BAD_PATH


def test_the_spelled_form_goes_before_the_other(root):
    names = [unicodedata.normalize("NFC", "é.jpg"), unicodedata.normalize("NFD", "é.jpg")]
    for name in names:
        (root / name).write_bytes(name.encode())
    for name in names:
        assert fetch(root, name, 20) == name.encode()


@pytest.mark.parametrize("protocol", ["file", "local"])
def test_local_roots_are_guarded_however_they_are_spelled(root, protocol):
    spelled = image_root(CatalogConfig(path=f"{protocol}://{root}"))
    assert fetch(spelled, "link-in.jpg", 5) == b"12345"
    with pytest.raises(ImageRejectedError, match="is a link to") as error:
        fetch(spelled, "link-out.jpg", 5)
    assert error.value.reason is RejectReason.BAD_PATH


def test_the_root_may_be_the_whole_disk(root):
    assert fetch(UPath("/"), str(root / "a" / "good.jpg").lstrip("/"), 5) == b"12345"


def test_remote_files(root):
    root = UPath("memory://images")
    (root / "there.jpg").write_bytes(b"12345")
    (root / "empty.jpg").write_bytes(b"")
    (root / "folder" / "a.jpg").write_bytes(b"1")
    assert fetch(root, "there.jpg", 5) == b"12345"
    assert fetch(UPath("memory://"), "images/there.jpg", 5) == b"12345"
    with pytest.raises(ImageRejectedError) as error:
        fetch(root / "a", "../there.jpg", 5)
    assert error.value.reason is RejectReason.BAD_PATH
    assert rejection(root, "missing.jpg").reason is RejectReason.MISSING_FILE
    assert rejection(root, "empty.jpg").reason is RejectReason.EMPTY_FILE
    assert rejection(root, "folder").reason is RejectReason.UNREADABLE_FILE
    assert rejection(root, "there.jpg", 4).reason is RejectReason.TOO_MANY_BYTES


def test_names_with_marks_of_urls_over_http(root):
    name = "a#b?c=%20 é.jpg"
    (root / name).write_bytes(b"12345")
    handler = functools.partial(_Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        served = UPath(f"http://127.0.0.1:{server.server_port}")
        assert fetch(served, name, 5) == b"12345"
        assert fetch(served, "a/good.jpg", 5) == b"12345"
        assert rejection(served, "a").reason is RejectReason.TOO_MANY_BYTES  # A page about it.
        assert rejection(served, "missing.jpg").reason is RejectReason.MISSING_FILE
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_size_is_tested_before_reading(root):
    with (root / "huge.jpg").open("wb") as file:
        file.truncate(1 << 42)  # Zeros that take no room on the disk, but would in memory.
    rejected = rejection(root, "huge.jpg")
    assert rejected.detail == f"{1 << 42} bytes, images.max_bytes is 5"
    assert rejected.reason is RejectReason.TOO_MANY_BYTES


def test_size_of_a_remote_file_is_tested_before_reading(failing):
    root = failing(TimeoutError())
    assert rejection(root, "a.jpg", 0).reason is RejectReason.TOO_MANY_BYTES


def test_size_is_tested_after_reading_where_it_is_not_known():
    """A regular file that says that it has no bytes."""
    with pytest.raises(ImageRejectedError, match=r"images\.max_bytes is 5"):
        fetch(UPath("/proc/self").resolve(), "status", 5)


def test_a_failing_disk_is_not_the_image_s_fault():
    """A regular file that can be opened, and whose first bytes no one can read."""
    with pytest.raises(OSError, match=r"Input/output error: '/proc/.*/mem'") as error:
        fetch(UPath("/proc/self").resolve(), "mem", 5)
    assert error.value.errno == errno.EIO


@pytest.fixture
def failing():
    """failing(error): a root whose files are there, and cannot be read."""

    def make(error):
        _Failing.error = error
        fsspec.register_implementation("failing", _Failing, clobber=True)
        return UPath("failing://images")

    return make


class _Failing(MemoryFileSystem):
    protocol = "failing"
    store: dict[str, object] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    error: Exception = OSError()

    def _open(self, path, mode="rb", **options):
        raise _Failing.error

    def info(self, path, **options):
        return {"name": path, "size": 1, "type": "file"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(errno.ETIMEDOUT, "timed out"), "timed out"),
        (TimeoutError(), "TimeoutError"),
        (ConnectionResetError("reset by peer"), "reset by peer"),
        (OSError(errno.ESTALE, "Stale file handle"), "Stale file handle"),
        (OSError(errno.EINVAL, "Invalid argument"), "Invalid argument"),
        (ValueError("odd response"), "ValueError: odd response"),
        (KeyError("ETag"), "KeyError: 'ETag'"),
    ],
)
def test_failing_storage_is_not_the_image_s_fault(failing, error, expected):
    with pytest.raises(OSError, match=expected) as raised:
        fetch(failing(error), "a.jpg", 5)
    assert raised.value.filename.endswith("images/a.jpg")
    assert raised.value.errno == (getattr(error, "errno", None) or errno.EIO)


@pytest.mark.parametrize("error", [PermissionError("403"), IsADirectoryError()])
def test_a_forbidden_image_is_rejected(failing, error):
    assert rejection(failing(error), "a.jpg").reason is RejectReason.UNREADABLE_FILE


def test_digests_tell_files_apart():
    assert file_digest(b"a") == file_digest(b"a") != file_digest(b"b")
