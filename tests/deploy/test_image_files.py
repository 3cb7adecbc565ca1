"""Which files of a folder are taken for pictures."""

import os

import pytest

from manylabel.deploy.errors import DeploymentError
from manylabel.deploy.image_files import find_images, one_line, text_of

JPEG = b"\xff\xd8\xff\xe0" + bytes(20)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_pictures_are_found_by_name_or_by_content_and_sorted(root):
    (root / "b" / "a").mkdir(parents=True)
    for name in ("z.JPG", "b/c.webp", "b/a/d.tif", "a.bmp"):
        (root / name).write_bytes(b"")
    contents = {
        "jpeg": JPEG,
        "png.dat": b"\x89PNG\r\n\x1a\n",
        "gif": b"GIF89a",
        "webp": b"RIFF\0\0\0\0WEBP",
    }
    for name, content in contents.items():
        (root / name).write_bytes(content)
    found = find_images(root)
    assert found.names == [
        "a.bmp", "b/a/d.tif", "b/c.webp", "gif", "jpeg", "png.dat", "webp", "z.JPG"
    ]  # fmt: skip
    assert found.others == {}
    assert find_images(root).root == root.resolve()


def test_other_files_are_counted_by_kind(root):
    for name in ("a.txt", "b.TXT", "c.csv", "README", "sound.wav"):
        (root / name).write_bytes(b"RIFF\0\0\0\0WAVE")
    os.mkfifo(root / "pipe")  # Opening it would never end.
    assert find_images(root).others == {".txt": 2, ".csv": 1, "no suffix": 2, ".wav": 1}
    assert find_images(root).names == []


def test_hidden_files_and_folders_are_left_out(root):
    (root / ".thumbnails").mkdir()
    for name in (".thumbnails/a.jpg", "._b.jpg", "c.jpg"):
        (root / name).write_bytes(JPEG)
    found = find_images(root)
    assert (found.names, found.others) == (["c.jpg"], {})


def test_links_to_folders_are_not_followed(root, tmp_path):
    """Not out of the folder, and not in a circle."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.jpg").write_bytes(JPEG)
    (tmp_path / "secret").write_bytes(JPEG)
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "circle").symlink_to(root)
    (root / "link").symlink_to(tmp_path / "secret")
    found = find_images(root)
    assert found.names == []
    assert found.others == {"link to a folder": 2, "no suffix": 1}
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    assert find_images(tmp_path / "link").names == ["a.jpg"]


def test_one_file_is_taken_whatever_it_is(root):
    (root / "notes.txt").write_text("notes")
    found = find_images(root / "notes.txt")
    assert (found.root, found.names) == (root.resolve(), ["notes.txt"])


@pytest.mark.parametrize("name", ["missing", "circle"])
def test_what_cannot_be_read_is_an_error(root, name):
    (root / "circle").symlink_to(root / "circle")
    with pytest.raises(DeploymentError, match=f"{name}: expected a folder of images or an image"):
        find_images(root / name)


def test_names_as_tables_and_terminals_hold_them():
    assert text_of(os.fsdecode(b"a\xff\n")) == "a\\xff\n"
    assert one_line("Übung\n\x1b[2J 🎉") == "Übung\\n\\x1b[2J 🎉"
