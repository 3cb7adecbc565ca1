"""What is said of paths that led nowhere, all for the same reason."""

import pyarrow as pa
import pytest
from upath import UPath

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.path_doubts import path_doubts
from manylabel.preprocessing.rejections import RejectReason
from manylabel.storage.manifest import REJECTED_NAME
from manylabel.storage.schema import REJECTED_SCHEMA
from manylabel.storage.tables import part_path, write_table

pytestmark = pytest.mark.slow

SETTING = "preprocessing.catalog.image_root"
CATALOG = CatalogConfig(path="labels.csv")


@pytest.fixture
def doubts(tmp_path):
    """doubts((image, reason, detail), ...): of a dataset with these rejections, in two parts."""

    def of(*rows):
        for number in range(2):
            columns = [[row[at] for row in rows[number::2]] for at in range(3)]
            table = pa.table(
                [pa.array(each, pa.string()) for each in columns], schema=REJECTED_SCHEMA
            )
            write_table(part_path(tmp_path / REJECTED_NAME, number), table)
        return path_doubts(CATALOG, UPath(tmp_path / REJECTED_NAME))

    return of


def absolute(*paths):
    return [(path, RejectReason.BAD_PATH, "expected a path below the image root") for path in paths]


def test_urls_and_private_addresses_name_their_settings(doubts):
    url = "https://example.org/a.jpg"
    assert doubts((url, RejectReason.BAD_PATH, "a URL"), ("a.jpg", RejectReason.BAD_PATH, "")) == [
        "1 paths are URLs: set preprocessing.catalog.http to {} to fetch them"
    ]
    (doubt,) = doubts((url, RejectReason.ADDRESS_REFUSED, ""), (url, RejectReason.NO_LABEL, ""))
    assert doubt.startswith("1 pictures are at private addresses")
    assert "preprocessing.catalog.http.allowed_networks" in doubt


def test_absolute_paths_name_the_setting_and_the_folder(doubts, tmp_path):
    below = [f"{tmp_path}/pictures/{name}.jpg" for name in ("a/1", "a/2", "b/3")]
    (tmp_path / "pictures").mkdir()
    assert doubts(*absolute(*below), ("x.jpg", RejectReason.TOO_SMALL, "")) == [
        f"3 paths are absolute, below {tmp_path}/pictures: set {SETTING} to it"
    ]


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["/mnt/elsewhere/p/a/1.jpg", "/mnt/elsewhere/p/b/2.jpg"], "/mnt/elsewhere/p"),
        (["file:///mnt/elsewhere/1.jpg", "file://host/mnt/elsewhere/2.jpg"], "/mnt/elsewhere"),
        (
            [r"C:\\Users\\ann\\p\\1.jpg".replace("\\\\", "\\"), "C:/Users/ann/p/q/2.jpg"],
            r"C:\Users\ann\p",
        ),
        ([r"\\server\share\p\1.jpg", r"\\server\share\p\2.jpg"], r"\\server\share\p"),
        (["~/p/1.jpg", "~/p/q/2.jpg"], "~/p"),
    ],
)
def test_absolute_paths_of_another_machine(doubts, paths, folder):
    rows = [(path, RejectReason.MISSING_FILE, path) for path in paths]
    (doubt,) = doubts(*rows)
    assert doubt.startswith(f"2 paths are absolute, below {folder}, which is not on this machine: ")
    assert "set preprocessing.catalog.image_root to where the pictures are" in doubt


def test_absolute_paths_of_several_drives(doubts):
    (doubt,) = doubts(*absolute("C:/a/1.jpg", "D:/a/2.jpg"))
    assert doubt.startswith("2 paths are absolute: take off what is not below")


def test_absolute_paths_from_everywhere(doubts):
    (doubt,) = doubts(*absolute("/usr/1.jpg", "/etc/2.jpg"))
    assert doubt == "2 paths are absolute, below /: set preprocessing.catalog.image_root to it"


def test_missing_files_that_are_there_in_another_way_are_counted(doubts):
    rows = [
        (str(number), RejectReason.MISSING_FILE, f"/p/{number}; there is one with / for \\")
        for number in range(1200)
    ]
    rows += [
        ("x", RejectReason.MISSING_FILE, "/p/x"),
        ("y", RejectReason.TOO_SMALL, "; there is one"),
    ]
    rows += [("z", RejectReason.MISSING_FILE, "/p/z; there is one from /p on, the folder above")]
    rows += [("s", RejectReason.MISSING_FILE, "s; there is one that image_suffix finds")] * 2
    assert doubts(*rows) == [
        "1,200 of 1,204 missing files: for each there is one with / for \\; mend the paths in "
        "labels.csv",
        "2 of 1,204 missing files: for each there is one that image_suffix finds; set "
        "preprocessing.catalog.image_suffix",
        "1 of 1,204 missing files: for each there is one from /p on, the folder above; set "
        "preprocessing.catalog.image_root to it",
    ]


def test_nothing_is_said_of_other_rejections(doubts):
    assert doubts(("a.jpg", RejectReason.MISSING_FILE, "/p/a.jpg")) == []
    assert doubts(("", RejectReason.BAD_PATH, ""), ("../a", RejectReason.BAD_PATH, "")) == []
    assert doubts(("/a", RejectReason.UNDECODABLE, "")) == []


def test_a_catalog_of_absolute_paths(tmp_path, picture, write_csv):
    """First the line that says what to set, then the dataset."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "lists").mkdir()
    names = [f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        (tmp_path / "pictures" / name).write_bytes(picture(number, (16, 16)))
    rows = [(f"{tmp_path}/pictures/{name}", "cat", 1) for name in names]
    write_csv(tmp_path / "lists" / "labels.csv", rows)
    catalog = {"path": str(tmp_path / "lists" / "labels.csv")}
    settings = {"executor": "inline", "heldout": {"size": 0}}
    config = PreprocessingConfig.model_validate(settings | {"catalog": catalog})
    with pytest.raises(PreprocessingError) as error:
        preprocess(config, str(tmp_path / "dataset"))
    said = f"4 paths are absolute, below {tmp_path}/pictures: set {SETTING} to it"
    assert said in str(error.value)
    catalog["image_root"] = str(tmp_path / "pictures")
    config = PreprocessingConfig.model_validate(settings | {"catalog": catalog})
    report = preprocess(config, str(tmp_path / "dataset"), overwrite=True)
    assert (report.counts.listed, report.counts.written) == (4, 4)
    assert report.path_doubts == ()
