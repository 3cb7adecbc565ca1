"""Pictures inside of tars: which may be read, and which not."""

import errno
import io
import os
import tarfile
import threading
import unicodedata

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from manylabel.preprocessing.pictures import tar_source
from manylabel.preprocessing.pictures.fetch import fetch
from manylabel.preprocessing.pictures.tar_source import split_at_tar
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.preprocessing.tars import IndexCache, make_index


def tar_of(*members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type, info.linkname = content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


DATA = tar_of(
    ("a/good.jpg", b"12345"),
    ("empty.jpg", b""),
    ("hard.jpg", (tarfile.LNKTYPE, "a/good.jpg")),
    ("a/soft.jpg", (tarfile.SYMTYPE, "good.jpg")),
    ("out.jpg", (tarfile.SYMTYPE, "../../secret.jpg")),
    ("passwd.jpg", (tarfile.SYMTYPE, "/etc/passwd")),
    ("loop.jpg", (tarfile.SYMTYPE, "loop.jpg")),
    ("null.jpg", (tarfile.CHRTYPE, "")),
    ("folder", (tarfile.DIRTYPE, "")),
    ("../up.jpg", b"up"),
    ("inner.tar/x.jpg", b"inner"),
    ("big.jpg", b"123456"),
)


@pytest.fixture(params=["local", "memory"])
def root(request, tmp_path):
    """A folder with x.tar, on a disk and elsewhere, beside which there is a secret."""
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    if request.param == "local":
        folder = tmp_path / "images"
        (folder / "sub").mkdir(parents=True)
        for name in ("x.tar", "sub/Y.TAR"):
            (folder / name).write_bytes(DATA)
        return UPath(folder)
    storage = MemoryFileSystem()
    storage.store.clear()
    for name in ("x.tar", "sub/Y.TAR"):
        storage.pipe(f"/images/{name}", DATA)
    return UPath("memory://images")


def rejection(root, image_id, max_bytes=5):
    with pytest.raises(ImageRejectedError) as error:
        fetch(root, image_id, max_bytes)
    assert "x.tar" in error.value.detail or error.value.reason is RejectReason.TOO_MANY_BYTES
    return error.value


@pytest.mark.parametrize(
    ("image_id", "expected"),
    [
        ("x.tar/a/good.jpg", b"12345"),
        ("sub/Y.TAR/a/good.jpg", b"12345"),
        ("x.tar/hard.jpg", b"12345"),
        ("x.tar/a/soft.jpg", b"12345"),
        ("x.tar/up.jpg", b"up"),
        ("x.tar/inner.tar/x.jpg", b"inner"),
    ],
)
def test_files_in_a_tar(root, image_id, expected):
    assert fetch(root, image_id, 5) == expected


@pytest.mark.parametrize(
    ("name", "reason", "detail"),
    [
        ("missing.jpg", RejectReason.MISSING_FILE, "no file of that name in the tar"),
        ("a", RejectReason.MISSING_FILE, "no file of that name"),
        ("folder", RejectReason.MISSING_FILE, "no file of that name"),
        ("null.jpg", RejectReason.MISSING_FILE, "no file of that name"),
        ("out.jpg", RejectReason.UNREADABLE_FILE, "that leads to nothing in it"),
        ("passwd.jpg", RejectReason.UNREADABLE_FILE, "that leads to nothing in it"),
        ("loop.jpg", RejectReason.UNREADABLE_FILE, "a link in the tar that leads to nothing in it"),
        ("empty.jpg", RejectReason.EMPTY_FILE, "x.tar/empty.jpg"),
        ("big.jpg", RejectReason.TOO_MANY_BYTES, "6 bytes, images.max_bytes is 5"),
    ],
)
def test_what_cannot_be_read_has_a_reason(root, name, reason, detail):
    rejected = rejection(root, f"x.tar/{name}")
    assert rejected.reason is reason
    assert detail in rejected.detail


def test_a_tar_that_is_a_link_out_of_the_root_is_refused(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "out.tar").write_bytes(DATA)
    (tmp_path / "root" / "x.tar").symlink_to("../out.tar")
    assert rejection(UPath(tmp_path / "root"), "x.tar/a/good.jpg").reason is RejectReason.BAD_PATH


def test_a_folder_may_be_called_like_a_tar(root):
    (root / "z.tar").mkdir(parents=True, exist_ok=True)
    (root / "z.tar" / "a.jpg").write_bytes(b"1")
    (root / "z.tar" / "x.tar").write_bytes(DATA)
    assert fetch(root, "z.tar/a.jpg", 5) == b"1"
    assert fetch(root, "z.tar/x.tar/a/good.jpg", 5) == b"12345"


def test_a_tar_that_is_not_there_and_a_file_that_is_none(root):
    (root / "none.tar").write_bytes(b"x.tar is not this" * 100)
    assert rejection(root, "x.tar.tar/a.jpg").reason is RejectReason.MISSING_FILE
    with pytest.raises(ImageRejectedError, match="received a file that begins with") as error:
        fetch(root, "none.tar/a.jpg", 5)
    assert error.value.reason is RejectReason.MISSING_FILE


def test_what_is_before_a_cut_is_read(root):
    data = tar_of(("a.jpg", b"12345"), ("b.jpg", b"1" * 1000))
    (root / "x.tar").write_bytes(data[:2000])
    assert fetch(root, "x.tar/a.jpg", 5) == b"12345"
    assert "cut at byte 2,000, in 'b.jpg'" in rejection(root, "x.tar/b.jpg", 9999).detail


def test_names_in_a_tar_may_be_of_the_other_unicode_form(root):
    composed, decomposed = (unicodedata.normalize(f, "é.jpg") for f in ("NFC", "NFD"))
    for there, asked in ((composed, decomposed), (decomposed, composed)):
        (root / "x.tar").write_bytes(tar_of((there, b"1")))
        assert fetch(root, f"x.tar/{asked}", 5) == b"1"


def test_a_long_path_is_not_looked_through(root):
    asked: list[str] = []

    def look(path):
        asked.append(path)

    assert split_at_tar("x.tar/" * 1_000_000, look) is None
    assert len(asked) < 1000


def test_other_bytes_have_another_index(root):
    """However they got there: in place, or by rename with the old time and size."""
    assert fetch(root, "x.tar/a/good.jpg", 5) == b"12345"
    (root / "x.tar").write_bytes(tar_of(("b.jpg", b"other")))
    assert fetch(root, "x.tar/b.jpg", 5) == b"other"


def test_the_same_size_and_time_are_not_the_same_file(tmp_path):
    path = tmp_path / "x.tar"
    one, two = tar_of(("a.jpg", b"1"), ("b.jpg", b"2")), tar_of(("b.jpg", b"2"), ("a.jpg", b"1"))
    for data in (one, two):
        (tmp_path / "new").write_bytes(data)
        os.utime(tmp_path / "new", ns=(1, 1))
        (tmp_path / "new").rename(path)
        assert fetch(UPath(tmp_path), "x.tar/a.jpg", 5) == b"1"


def test_headers_are_read_once(root, monkeypatch):
    made = []

    def make(*args, **options):
        made.append(args)
        return make_index(*args, **options)

    monkeypatch.setattr(tar_source, "_INDEXES", IndexCache())
    monkeypatch.setattr(tar_source, "make_index", make)
    threads = [threading.Thread(target=fetch, args=(root, "x.tar/a/good.jpg", 5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetch(root, "x.tar/up.jpg", 5) == b"up"
    assert len(made) == 1


def test_a_picture_takes_two_reads(tmp_path, monkeypatch):
    """Of its header and of its bytes, however many are before it."""
    (tmp_path / "x.tar").write_bytes(DATA)
    fetch(UPath(tmp_path), "x.tar/up.jpg", 5)
    lengths = []

    def pread(tar, length, offset, read=os.pread):
        lengths.append(length)
        return read(tar, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    assert fetch(UPath(tmp_path), "x.tar/inner.tar/x.jpg", 5) == b"inner"
    assert lengths == [512, 5]


def test_no_file_is_left_open(tmp_path):
    (tmp_path / "x.tar").write_bytes(DATA)
    before = len(os.listdir("/proc/self/fd"))
    for name in ("a/good.jpg", "missing.jpg", "big.jpg"):
        try:
            fetch(UPath(tmp_path), f"x.tar/{name}", 5)
        except ImageRejectedError:
            continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_tar_that_became_shorter_stops_the_job(tmp_path, monkeypatch):
    """It says nothing about the picture."""
    (tmp_path / "x.tar").write_bytes(DATA)
    monkeypatch.setattr(
        os,
        "pread",
        lambda tar, length, offset, read=os.pread: (
            b"12" if length == 5 else read(tar, length, offset)
        ),
    )
    with pytest.raises(OSError, match=r"received 2 of 5 bytes from \d+ on: '.*x\.tar'") as error:
        fetch(UPath(tmp_path), "x.tar/a/good.jpg", 5)
    assert error.value.errno == errno.EIO
