"""What can never be opened or made is told before anything hangs on it."""

import os
from pathlib import Path

import pytest

from manylabel.storage.usable_paths import (
    refuse_unusable,
    storable,
    storable_local,
    usable,
    usable_local,
)


def test_a_home_directory_is_one_and_that_of_nobody_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert usable("~/ds") == f"{tmp_path}/ds"
    assert usable_local("~/ds") == tmp_path / "ds"
    assert usable("s3://bucket/~ds") == "s3://bucket/~ds"
    for function in (usable, usable_local, storable, storable_local):
        with pytest.raises(ValueError, match=r"received ~typo/ds, .*; write \./~typo/ds for"):
            function("~typo/ds")
        with pytest.raises(ValueError, match="at most 255 bytes"):
            function("n" * 256)


def test_local_paths_are_no_uris():
    for function in (usable_local, storable_local):
        with pytest.raises(ValueError, match="expected a local path, received s3://bucket"):
            function("s3://bucket")


def test_what_no_document_can_hold(monkeypatch, tmp_path):
    """They hold absolute paths: those of a home directory, and of the current folder."""
    bad = tmp_path / os.fsdecode(b"a\xff")
    bad.mkdir()
    monkeypatch.setenv("HOME", str(bad))
    assert storable("Übung 🎉") == "Übung 🎉"
    assert storable_local("Übung 🎉") == Path("Übung 🎉")
    for function in (storable, storable_local):
        for text in (bad.name, str(bad), "~", "~/ds"):
            with pytest.raises(ValueError, match=r"a path in UTF-8, received '/.*a\\udcff.*'; ren"):
                function(text)
    with pytest.raises(ValueError, match="expected a path in UTF-8, received 's3://b"):
        storable(f"s3://bucket/{bad.name}")
    monkeypatch.chdir(bad)
    assert storable("s3://bucket/ds") == "s3://bucket/ds"
    for function in (storable, storable_local):
        assert str(function(str(tmp_path / "ds"))) == str(tmp_path / "ds")
        with pytest.raises(ValueError, match=r"in UTF-8, received '/.*a\\udcff/ds'; rename it"):
            function("ds")


@pytest.mark.parametrize("text", ["n" * 256, "a/" + "n" * 300 + "/b", "ü" * 128])
def test_names_that_are_too_long(text):
    with pytest.raises(ValueError, match=r"names of at most 255 bytes, received one of (256|300)"):
        refuse_unusable(text)


def test_paths_that_are_too_long():
    text = "/".join(["n" * 255] * 16) + "/"
    with pytest.raises(ValueError, match=r"a path of at most 4,095 bytes, received one of 4,096"):
        refuse_unusable(text)
    with pytest.raises(OSError, match="File name too long"):
        os.stat(text)


def test_the_longest_that_can_be():
    refuse_unusable("n" * 255)
    refuse_unusable("/".join(["n" * 255] * 16)[:4095])
    refuse_unusable("s3://bucket/" + "n" * 300)


def test_links_to_nowhere(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    for path in (link, link / "below" / "it"):
        with pytest.raises(ValueError, match=f"{link}: is a link to nowhere, which is not there"):
            refuse_unusable(str(path))
    (tmp_path / "nowhere").mkdir()
    refuse_unusable(str(link / "below" / "it"))


def test_links_that_lead_in_a_circle(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(link)
    with pytest.raises(ValueError, match=r"is a link to .*link, which is not there"):
        refuse_unusable(str(link))


def test_a_current_folder_that_was_removed(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ValueError, match="the current folder was removed; run the command in"):
        refuse_unusable("runs")
    refuse_unusable(str(tmp_path))
