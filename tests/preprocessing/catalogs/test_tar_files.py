"""Patterns of tars, against Bash where it has them; folders of tars and of pictures."""

import subprocess

import pytest
from upath import UPath

from manylabel.preprocessing.catalogs import tar_files
from manylabel.preprocessing.catalogs.tar_files import (
    expand_braces,
    folder_of_pattern,
    is_folder_of_tars,
    is_pattern,
    list_tars,
    match_tars,
)
from manylabel.preprocessing.errors import PreprocessingError

PATTERNS = [
    *("a", "{a}", "{a,b}", "{a,b}{c,d}", "{a,{b,c}d}e", "{1..3}", "{3..1}", "{000..012}"),
    *(
        "{1..10..3}",
        "{-2..2}",
        "{01..3}",
        "{a..e}",
        "{e..a}",
        "x{,y}z",
        "{a,b",
        "a}",
        "{}",
        "{{a,b}",
    ),
    *("{a..3}", "{1...3}", "{{1..2},x}", "{x{1..2}}", "p-{09..11}.tar", "{1..2}{a,b}-{8..10}"),
]


def test_braces_are_those_of_bash():
    script = "\n".join(f"echo {pattern}" for pattern in PATTERNS)
    lines = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    expected = [line.split(" ") for line in lines.stdout.splitlines()]
    assert [list(expand_braces(pattern)) for pattern in PATTERNS] == expected


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("/data/train-{0..3}.tar", "/data/"),
        ("/data/{train,val}/x-*.tar", "/data/"),
        ("train-?.tar", "."),
        ("s3://bucket/a/[xy].tar", "s3://bucket/a/"),
        ("memory://{a,b}.tar", "memory://"),
    ],
)
def test_the_folder_of_a_pattern(pattern, folder):
    assert is_pattern(pattern)
    assert folder_of_pattern(pattern) == folder


@pytest.mark.parametrize("text", ["/data/a.tar", "/data/{a,b}.csv", "/da*ta/a.csv", "x.tar.gz"])
def test_no_pattern(text):
    assert not is_pattern(text)


@pytest.fixture
def folder(tmp_path):
    for name in ("a-0.tar", "a-1.tar", "b/a-0.tar", ".hidden.tar", "a-2.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.tar").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a-{0..1}.tar", ["a-0.tar", "a-1.tar"]),
        ("a-{1..0}.tar", ["a-1.tar", "a-0.tar"]),
        ("*.tar", ["a-0.tar", "a-1.tar"]),
        ("[!b]-?.tar", ["a-0.tar", "a-1.tar"]),
        ("*/*.tar", ["b/a-0.tar"]),
        ("{a-0,*}.tar", ["a-0.tar", "a-1.tar"]),
    ],
)
def test_what_a_pattern_stands_for(folder, pattern, expected):
    assert match_tars(f"{folder}/{pattern}", UPath(folder)) == expected
    memory = UPath("memory://patterns")
    memory.fs.store.clear()
    for path in folder.rglob("*"):
        if path.is_file():
            memory.fs.pipe(f"/patterns/{path.relative_to(folder)}", b"1")
    assert match_tars(f"memory://patterns/{pattern}", memory) == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a-{0..3}.tar", "2 of the 4 files that braces name are not there, the first is a-2.tar"),
        ("z*.tar", "received a pattern that fits no file"),
        ("{0..9999999999}.tar", "stand for at most 100,000 files"),
        ("{0..999}{0..999}.tar", "stand for at most 100,000 files"),
    ],
)
def test_patterns_for_what_is_not_there(folder, pattern, message):
    with pytest.raises(PreprocessingError, match=message):
        match_tars(f"{folder}/{pattern}", UPath(folder))
    assert tar_files.MAX_FILES == 100_000


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.tar", "a.parquet", "a_stats.json", "a.idx", "README.md", ".git/x"], True),
        (["a.TAR"], True),
        (["a.tar", "cats/x.jpg"], False),
        (["a.tar", "x.JPEG"], False),
        (["README.md"], False),
        ([], False),
    ],
)
def test_a_folder_of_tars(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert is_folder_of_tars(UPath(tmp_path)) is expected


def test_tars_of_a_folder(folder):
    assert list_tars(UPath(folder)) == ["a-0.tar", "a-1.tar"]
