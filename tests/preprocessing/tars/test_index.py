"""Finding a file in a tar, and keeping what was found."""

import io
import tarfile

import pytest

from manylabel.preprocessing.tars import IndexCache, Kind, TarError, index, make_index


def index_of(*members, cut=None):
    """Of (name, bytes) or (name, link)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    data = file.getvalue()[:cut]

    def read(offset, length):
        return data[offset : offset + length]

    made = make_index(read, len(data))

    def find(name):
        member = made.find(name, read)
        if member is None or member.kind is not Kind.FILE:
            return member and member.kind
        return read(member.offset, member.size)

    return find, made


def test_every_file_is_found():
    members = [(f"{number % 7}/{number:06d}.jpg", b"%d" % number) for number in range(500)]
    find, made = index_of(*members)
    assert [find(name) for name, _ in members] == [content for _, content in members]
    assert find("0/1.jpg") is None
    assert len(made) == 500


def test_the_last_of_a_name_counts():
    find, _ = index_of(("a.jpg", b"old"), ("b.jpg", b"2"), ("./a.jpg", b"new"))
    assert find("a.jpg") == b"new"


def test_links_are_followed_inside_of_the_tar_only():
    links = [(f"l{number}.jpg", f"l{number + 1}.jpg") for number in range(20)]
    find, _ = index_of(
        *links,
        ("l20.jpg", b"far"),
        ("a/b.jpg", b"1"),
        ("c/d.jpg", "../a/b.jpg"),
        ("e.jpg", "c/d.jpg"),
        ("self.jpg", "self.jpg"),
        ("out.jpg", "/etc/passwd"),
    )
    assert find("e.jpg") == find("c/d.jpg") == b"1"
    assert find("out.jpg") is Kind.LINK
    assert find("self.jpg") is Kind.LINK
    assert find("l0.jpg") is Kind.LINK  # Too many one behind the other.
    assert find("l15.jpg") == b"far"


def test_what_is_before_the_damage_is_found():
    find, made = index_of(("a.jpg", b"1"), ("b.jpg", b"2" * 600), cut=1700)
    assert find("a.jpg") == b"1"
    assert find("b.jpg") is None
    assert "cut at byte 1,700, in 'b.jpg'" in made.damage


def test_names_of_the_same_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(index, "_key", lambda name: len(name) % 2)
    names = [f"{'x' * number}.jpg" for number in range(20)]
    find, _ = index_of(*((name, name.encode()) for name in names))
    assert [find(name) for name in names] == [name.encode() for name in names]
    assert find("y.jpg") is None


def test_a_tar_that_became_another_is_an_error():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    data = file.getvalue()
    made = make_index(lambda offset, length: data[offset : offset + length], len(data))
    with pytest.raises(TarError, match="a header whose checksum is wrong at byte 0"):
        made.find("a.jpg", lambda offset, length: b"x" * length)


def test_members_are_bounded(monkeypatch):
    monkeypatch.setattr(index, "MAX_MEMBERS", 3)
    _, made = index_of(*((f"{number}.jpg", b"1") for number in range(5)))
    assert "received more; write several smaller ones" in made.damage
    assert len(made) == 3


def test_a_place_takes_8_bytes():
    _, made = index_of(*((f"{number}.jpg", b"1") for number in range(50)))
    assert made.keys.nbytes + made.blocks.nbytes == 8 * 50


def test_indexes_are_made_once_and_the_oldest_are_given_up():
    _, small = index_of(("a.jpg", b""), ("b.jpg", b""))
    made: list[str] = []

    def get(name):
        def make():
            made.append(name)
            return small

        return cache.get(name, make)

    cache = IndexCache(max_members=5)
    for name in ("one", "two", "one", "three", "one", "two"):
        get(name)
    assert made == ["one", "two", "three", "two"]
    cache = IndexCache(max_members=1)
    made.clear()
    assert get("one") is get("one") is small
    assert made == ["one"]
