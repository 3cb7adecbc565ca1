"""Folder trees on storage that fsspec reaches."""

import errno
import functools
import http.server
import threading
from collections import Counter

import fsspec
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import catalog_digest, detect_format, image_root
from manylabel.preprocessing.catalogs.folder import walk_folder
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.pictures.fetch import fetch

pytestmark = pytest.mark.slow

NAMES = [
    *("top.jpg", "b/x.jpg", "b/c/y.png", "a/x.jpg", "a b/é#?%20.jpg", "memory:/a.jpg"),
    *("cats/@eaDir/x.jpg/THUMB.jpg", "cats/Thumbs.db", "cats/.DS_Store", ".git/x", "cats/z.jpg"),
]


@pytest.fixture
def storage():
    storage = MemoryFileSystem()
    storage.store.clear()
    storage.pseudo_dirs[:] = [""]
    return storage


@pytest.fixture
def both(storage, tmp_path):
    """The same tree on a disk and elsewhere."""
    for name in NAMES:
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        storage.pipe(f"/tree/{name}", name.encode())
    return str(tmp_path / "tree"), "memory://tree"


def test_a_tree_is_listed_as_on_a_disk(both, rows_of):
    local, remote = map(rows_of, both)
    assert remote == local
    assert [row[:2] for row in remote][:2] == [("top.jpg", None), ("a/x.jpg", "a")]
    digests = [catalog_digest(CatalogConfig(path=path)) for path in both]
    assert digests[0] == digests[1]
    assert digests[0].left_out == {".*": 2, "@eaDir": 1, "Thumbs.db": 1}


def test_its_images_are_fetched(both, rows_of):
    root = image_root(CatalogConfig(path=both[1]))
    images = {row[0] for row in rows_of(both[1])}
    assert len(images) == 7
    assert all(fetch(root, image, 99) == image.encode() for image in images)


def test_the_local_folder_of_the_same_name_is_not_read(storage, tmp_path, rows_of):
    (tmp_path / "local.jpg").touch()
    storage.pipe(f"{tmp_path}/remote.jpg", b"1")
    assert [row[0] for row in rows_of(f"memory://{tmp_path}")] == ["remote.jpg"]


def test_the_whole_storage_may_be_the_root(storage, rows_of):
    storage.pipe("/a/x.jpg", b"1")
    assert rows_of("memory://") == [("a/x.jpg", "a", 1.0, None)]


def test_a_dataset_is_made_of_it_on_another_storage_or_outside(storage, tmp_path, picture):
    for number in range(3):
        storage.pipe(f"{tmp_path}/{'ab'[number % 2]}/{number}.png", picture(number, (16, 16)))
    config = PreprocessingConfig.model_validate(
        {"catalog": {"path": f"memory://{tmp_path}"}, "heldout": {"size": 0}, "executor": "inline"}
    )
    with pytest.raises(PreprocessingError, match="lies inside the catalog folder"):
        preprocess(config, f"memory://{tmp_path}/dataset")
    report = preprocess(config, str(tmp_path / "dataset"))
    assert (report.counts.written, report.rejected) == (3, {})


class _Listed(AbstractFileSystem):
    """Storage of which each folder's entries are given."""

    protocol = "listed"
    entries: dict[str, list] = {}  # noqa: RUF012

    def info(self, path, **options):
        return {"name": path, "size": 0, "type": "directory"}

    def ls(self, path, detail=True, **options):
        found = self.entries[path]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def listed():
    """listed(folders): walks storage that lists them so, and gives what is found and left out."""
    fsspec.register_implementation("listed", _Listed, clobber=True)

    def walk(folders):
        _Listed.entries = folders
        left_out: Counter[str] = Counter()
        found = list(walk_folder(CatalogConfig(path="listed:///root"), left_out))
        return [("/".join((*each.parts, name))) for each in found for name in each.names], left_out

    return walk


def test_objects_that_stand_for_folders_are_no_images(listed):
    """Consoles of object storage make them; and a name may be empty."""
    folders = {
        "/root": [
            {"name": "/root/", "type": "file"},
            {"name": "/root/a/", "type": "directory"},
        ],
        "/root/a": [
            {"name": "/root/a", "type": "directory"},
            {"name": "/root/a/", "type": "directory"},
            {"name": "/root/a/x.jpg", "type": "file"},
        ],
    }
    assert listed(folders) == (["a/x.jpg"], {"//": 1})


def test_links_are_not_followed(listed):
    folders = {
        "/root": [
            {"name": "/root/loop", "type": "directory", "islink": True},
            {"name": "/root/x.jpg", "type": "link"},
        ]
    }
    assert listed(folders) == (["x.jpg"], {"loop": 1})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(errno.EACCES, "Access Denied"), "Access Denied: '/root/a'"),
        (RuntimeError("odd answer"), "RuntimeError: odd answer: '/root/a'"),
        (FileNotFoundError("/root/a"), "'/root/a'"),
        (TimeoutError(), "TimeoutError: '/root/a'"),
    ],
)
def test_a_folder_that_cannot_be_listed_is_named(listed, error, expected):
    folders = {"/root": [{"name": "/root/a", "type": "directory"}], "/root/a": error}
    with pytest.raises(OSError, match="/root/a") as raised:
        listed(folders)
    assert expected in str(raised.value)


def test_folders_and_tars_over_http_are_refused(tmp_path):
    """What fsspec takes for a list are the links of a page."""
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "x.jpg").touch()
    (tmp_path / "x.tar").touch()
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}/"
        for path, message in (
            ("", "name its images in a CSV or Parquet file"),
            ("x.tar", "received HTTP; download them"),
            ("{x,y}.tar", "received HTTP; download them"),
            ("*.tar", "received HTTP; download them"),
        ):
            with pytest.raises(PreprocessingError, match=message):
                detect_format(CatalogConfig(path=root + path))
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
