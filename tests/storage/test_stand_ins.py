"""What lies in a file's place, known by its first bytes."""

import bz2
import gzip
import io
import lzma
import zipfile

import pyarrow as pa
import pytest

from manylabel.storage.errors import DamagedDocumentError, TableError
from manylabel.storage.manifest import Manifest
from manylabel.storage.stand_ins import stand_in, text_instead
from manylabel.storage.tables import read_table, write_table


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "b")
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "what", "remedy"),
    [
        (b"version https://hawser.github.com/spec/v1\n", "a Git LFS pointer", "git lfs pull"),
        (b"/annex/objects/SHA256E-s5--ab.tfrecord\n", "a git-annex pointer", "git annex get"),
        (b"", "an empty file", "copy it again"),
        (bytes(512), "zeros", "copy it again"),
        (b"\n <!DOCTYPE html><html>Sign in", "a web page", "signed in"),
        (b"\xef\xbb\xbf<HTML>", "a web page", "signed in"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "XML", "access"),
        (gzip.compress(b"a"), "a file compressed by gzip", "unpack it"),
        (bz2.compress(b"a"), "a file compressed by bzip2", "unpack it"),
        (lzma.compress(b"a"), "a file compressed by xz", "unpack it"),
        (zipped(), "a file compressed by zip", "unpack it"),
    ],
)
def test_what_takes_a_files_place_is_known_with_its_remedy(head, what, remedy):
    for found in (stand_in(head), text_instead(head)):
        assert found is not None
        assert found.what.startswith(what)
        assert remedy in found.remedy


def test_an_archive_where_one_belongs_is_no_stand_in():
    """A cut .npz is a zip, and not to be unpacked."""
    for known in (stand_in, text_instead):
        assert known(zipped()[:20], ours=b"PK\x03\x04") is None
        assert known(gzip.compress(b"a"), ours=b"PK\x03\x04") is not None


def test_text_is_something_else_only_where_none_belongs():
    text = b"Invalid username or password.\n" * 20
    assert stand_in(text) is None
    assert str(text_instead(text)).startswith(
        "text that begins 'Invalid username or password. Invalid us…'; copy or download"
    )
    assert str(text_instead("Zugriff verweigert für ü".encode()[:-1])).startswith("text that")
    for binary in (b"PAR1\x15\x04", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"text\0"):
        assert text_instead(binary) is None


def test_tables_and_documents_say_so(tmp_path, lfs_pointer):
    path = tmp_path / "labels.parquet"
    path.write_bytes(lfs_pointer)
    with pytest.raises(
        TableError, match=r"labels\.parquet: not a readable Parquet file, but a Git LFS"
    ):
        read_table(path)
    with pytest.raises(DamagedDocumentError, match=r"a dataset manifest, received a Git LFS poin"):
        Manifest.parse(lfs_pointer, tmp_path / "manifest.json")
    path.unlink()
    write_table(path, pa.table({"a": [1]}))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TableError, match=r"not a readable Parquet file"):
        read_table(path)
