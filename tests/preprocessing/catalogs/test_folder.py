"""Folder trees: labels, links, what is left out."""

import os
from collections import Counter

import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import catalog_digest, image_root
from manylabel.preprocessing.catalogs import folder as folder_module
from manylabel.preprocessing.catalogs.folder import read_folder, walk_folder
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.pictures.fetch import fetch
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return root


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"1")


def left_out(root):
    return dict(catalog_digest(CatalogConfig(path=str(root))).left_out)


@pytest.fixture
def pairs(rows_of):
    """Image and label of each row."""
    return lambda root: [(image, label) for image, label, _, _ in rows_of(root)]


@pytest.fixture
def refused():
    """The images below a root that cannot be fetched, and why."""

    def read(root, images):
        reasons = {}
        for image in images:
            try:
                fetch(image_root(CatalogConfig(path=str(root))), image, 5)
            except ImageRejectedError as rejected:
                reasons[image] = rejected.reason
        return reasons

    return read


def test_folders_are_nested_labels(root, pairs, rows_of):
    make(root, "b/x.jpg", "b/c/y.png", "a/x.jpg", "top.jpg")
    assert pairs(root) == [
        ("top.jpg", None),
        ("a/x.jpg", "a"),
        ("b/x.jpg", "b"),
        ("b/c/y.png", "b"),
        ("b/c/y.png", "c"),
    ]
    assert {row[2:] for row in rows_of(root)} == {(1.0, None)}


def test_a_local_folder_may_be_spelled_as_a_url(root, rows_of):
    make(root, "a/x.jpg")
    assert rows_of(f"file://{root}") == [("a/x.jpg", "a", 1.0, None)]


def test_names_that_look_like_something_else(root, pairs, refused):
    names = ["season:/a.jpg", "http:/a.jpg", "~/a.jpg", "-rf/a.jpg", "a b/\n.jpg", "C:/a\\b.jpg"]
    make(root, *names)
    assert sorted(pairs(root)) == sorted((name, name.split("/")[0]) for name in names)
    assert not refused(root, names)


def test_a_name_that_is_not_utf8_is_spelled_out(root, pairs, refused):
    (root / "a").mkdir()
    open(bytes(root / "a") + b"/caf\xe9.jpg", "w").close()
    assert pairs(root) == [("a/caf\\xe9.jpg", "a")]
    assert refused(root, ["a/caf\\xe9.jpg"]) == {"a/caf\\xe9.jpg": RejectReason.MISSING_FILE}


@pytest.mark.parametrize("batch_rows", [2, 3, 7, 100])
def test_tables_are_of_a_bounded_size(root, batch_rows):
    make(root, *(f"a/b/{number}.jpg" for number in range(9)), "x.jpg")
    tables = list(read_folder(CatalogConfig(path=str(root)), batch_rows))
    assert sum(table.num_rows for table in tables) == 19
    assert max(table.num_rows for table in tables) <= batch_rows


class TestLinks:
    def test_a_class_that_is_a_link_is_followed(self, root, pairs, refused):
        make(root, "store/17/x.jpg")
        (root / "cats").symlink_to("store/17")
        (root / "dogs").symlink_to(root / "cats")
        (root / "one.jpg").symlink_to("store/17/x.jpg")
        assert pairs(root) == [
            ("one.jpg", None),
            ("cats/x.jpg", "cats"),
            ("dogs/x.jpg", "dogs"),
            ("store/17/x.jpg", "store"),
            ("store/17/x.jpg", "17"),
        ]
        assert not refused(root, ["cats/x.jpg", "dogs/x.jpg"])

    def test_images_outside_of_the_root_are_listed_and_refused(self, root, pairs, refused):
        make(root.parent, "roo/deep/x.jpg")  # Not a folder around "root".
        make(root, "cats/y.jpg")
        (root / "dogs").symlink_to("../roo")
        images = [image for image, _ in pairs(root)]
        assert images == ["cats/y.jpg", "dogs/deep/x.jpg", "dogs/deep/x.jpg"]
        assert refused(root, images) == {"dogs/deep/x.jpg": RejectReason.BAD_PATH}

    def test_a_link_from_outside_back_in_is_followed_once(self, root, pairs):
        make(root, "cats/y.jpg")
        (root.parent / "elsewhere").mkdir()
        (root.parent / "elsewhere" / "back").symlink_to(root)
        (root.parent / "elsewhere" / "cats").symlink_to(root / "cats")
        (root / "dogs").symlink_to("../elsewhere")
        assert [image for image, _ in pairs(root)][0::3] == ["cats/y.jpg"]
        assert {image for image, _ in pairs(root)} == {"cats/y.jpg", "dogs/cats/y.jpg"}
        assert left_out(root) == {"back": 1}

    @pytest.mark.parametrize("target", [".", "..", "../..", "/", "../../root", "../b/../a"])
    def test_a_link_to_where_it_lies_is_left_out(self, root, pairs, target):
        make(root, "a/x.jpg")
        (root / "a" / "again").symlink_to(target)
        (root / "b").mkdir()
        (root / "b" / "again").symlink_to("..")
        assert pairs(root) == [("a/x.jpg", "a")]
        assert left_out(root) == {"again": 2}

    def test_links_into_each_other_end(self, root, pairs):
        make(root, "a/x.jpg", "b/y.jpg")
        (root / "a" / "b").symlink_to("../b")
        (root / "b" / "a").symlink_to("../a")
        images = {image for image, _ in pairs(root)}
        assert images == {"a/x.jpg", "a/b/y.jpg", "b/y.jpg", "b/a/x.jpg"}
        assert left_out(root) == {"a": 1, "b": 1}

    def test_a_link_to_a_folder_around_a_linked_one_is_a_loop(self, root, pairs):
        make(root.parent, "outer/inner/x.jpg")
        (root.parent / "outer" / "inner" / "up").symlink_to("..")
        (root / "a").symlink_to("../outer/inner")
        assert [image for image, _ in pairs(root)] == ["a/x.jpg"]
        assert left_out(root) == {"up": 1}

    def test_links_to_nothing_are_listed_and_refused(self, root, pairs, refused):
        (root / "a").mkdir()
        (root / "a" / "gone.jpg").symlink_to("nowhere")
        (root / "a" / "loop.jpg").symlink_to("loop.jpg")
        images = [image for image, _ in pairs(root)]
        assert images == ["a/gone.jpg", "a/loop.jpg"]
        assert refused(root, images) == {
            "a/gone.jpg": RejectReason.MISSING_FILE,
            "a/loop.jpg": RejectReason.UNREADABLE_FILE,
        }

    def test_the_root_may_be_a_link(self, root, pairs, refused):
        make(root, "a/x.jpg")
        (root.parent / "link").symlink_to(root)
        assert pairs(root.parent / "link") == [("a/x.jpg", "a")]
        assert not refused(root.parent / "link", ["a/x.jpg"])


class TestLeftOut:
    def test_what_machines_leave_is_counted(self, root, pairs):
        make(
            root,
            "cats/x.jpg",
            "cats/@eaDir/x.jpg/SYNOPHOTO_THUMB_M.jpg",
            "dogs/@eaDir/y.jpg",
            "__MACOSX/cats/x.jpg",
            "$RECYCLE.BIN/x.jpg",
            "$Recycle.Bin/x.jpg",
            "System Volume Information/x.jpg",
            "#recycle/x.jpg",
            "@Recycle/x.jpg",
            "@tmp/x.jpg",
            "cats/Thumbs.db",
            "cats/desktop.ini",
            "cats/Icon\r",
        )
        (root / "lost+found").mkdir(mode=0o000)
        assert pairs(root) == [("cats/x.jpg", "cats")]
        assert left_out(root) == {
            "#recycle": 1,
            "$RECYCLE.BIN": 1,
            "$Recycle.Bin": 1,
            "@Recycle": 1,
            "@eaDir": 2,
            "@tmp": 1,
            "Icon\r": 1,
            "System Volume Information": 1,
            "Thumbs.db": 1,
            "__MACOSX": 1,
            "desktop.ini": 1,
            "lost+found": 1,
        }

    def test_what_is_hidden_is_counted_together(self, root, pairs):
        """macOS may leave a hidden file beside each image."""
        make(root, "a/x.jpg", "a/._x.jpg", "a/.DS_Store", ".ipynb_checkpoints/y.jpg", ".git/z/y")
        assert pairs(root) == [("a/x.jpg", "a")]
        assert left_out(root) == {".*": 4}

    @pytest.mark.parametrize("name", ["recycled", "thumbs", "found", "icon", "tmp", "eaDir"])
    def test_labels_that_sound_alike_are_kept(self, root, pairs, name):
        make(root, f"{name}/x.jpg")
        assert pairs(root) == [(f"{name}/x.jpg", name)]


class TestDigest:
    def digest(self, root):
        return catalog_digest(CatalogConfig(path=str(root))).sha256

    def test_each_change_of_the_listing_shows(self, root):
        make(root, "a/x.jpg", "a/b/y.jpg", "c/z.jpg")
        digests = [self.digest(root)]
        for old, new in [
            ("a/x.jpg", "a/w.jpg"),
            ("a/b/y.jpg", "a/y.jpg"),
            ("c/z.jpg", "z.jpg"),
            ("a/y.jpg", "a/y\n.jpg"),
            ("a", "b"),
        ]:
            (root / old).rename(root / new)
            digests.append(self.digest(root))
        assert len(set(digests)) == len(digests)

    def test_names_do_not_run_into_each_other(self, root):
        make(
            root,
            "one/a/x",
            "one/bb/y",
            "two/a/xb",
            "two/b/y",
            "three/a/x",
            "three/a/bb",
            "four/a/x",
        )
        assert len({self.digest(folder) for folder in root.iterdir()}) == 4

    def test_it_depends_on_nothing_else(self, root):
        make(root, "a/x.jpg", "b/y.jpg")
        expected = self.digest(root)
        moved = root.rename(root.parent / "moved")
        (moved / "a" / "x.jpg").write_bytes(b"other")
        (moved / "empty").mkdir()
        make(moved, "a/Thumbs.db", ".hidden/z.jpg")
        assert self.digest(moved) == expected

    def test_whether_a_link_leads_outside_shows(self, root):
        """What is outside is refused: a copy in its place makes another dataset."""
        make(root, "store/x.jpg")
        make(root.parent, "elsewhere/x.jpg")
        (root / "a").symlink_to("store")
        inside = self.digest(root)
        (root / "a").unlink()
        (root / "a").symlink_to("../elsewhere")
        assert self.digest(root) != inside
        (root / "a").unlink()
        make(root, "a/x.jpg")
        assert self.digest(root) == inside


def test_a_folder_that_cannot_be_listed_is_an_error_that_names_it(root):
    """Here because its path is longer than any that can be opened."""
    folder = os.open(root, os.O_DIRECTORY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=folder)
        inner = os.open("x" * 250, os.O_DIRECTORY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    with pytest.raises(OSError, match="File name too long") as error:
        list(walk_folder(CatalogConfig(path=str(root)), Counter()))
    assert error.value.filename.startswith(f"{root}/xxx")


def test_folders_that_link_to_each_other_end_in_one_line(tmp_path, monkeypatch):
    """Five have 325 paths, 65 to each, and nine a million: the limit ends it before them."""
    monkeypatch.setattr(folder_module, "MOST_LINKS_TO_A_FOLDER", 20)
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a.jpg").touch()
        for other in set(range(5)) - {number}:
            (folder / f"to {other}").symlink_to(tmp_path / str(other))
    config = CatalogConfig(path=str(tmp_path))
    with pytest.raises(PreprocessingError, match=r"links that lead to .* more than 20 ways"):
        catalog_digest(config)
    monkeypatch.setattr(folder_module, "MOST_LINKS_TO_A_FOLDER", 65)
    assert sum(1 for _ in walk_folder(config, Counter())) == 325
