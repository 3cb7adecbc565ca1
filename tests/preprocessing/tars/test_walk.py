"""Tars of every kind, against Python's own reader; and bytes that are none."""

import io
import os
import random
import tarfile

import pytest

from manylabel.preprocessing.tars import Kind, TarError, normalised, walk_tar
from manylabel.preprocessing.tars.reading import reader_of

FORMATS = {
    "ustar": tarfile.USTAR_FORMAT,
    "gnu": tarfile.GNU_FORMAT,
    "pax": tarfile.PAX_FORMAT,
}

NAMES = [
    "a.jpg",
    "x/" * 60 + "split.jpg",  # ustar: in two parts.
    "żółw 🐢\n.jpg",
    "d/" * 150 + "y" * 255,  # More than a header has room for.
    "z" * 100,
]


def tar_of(*members, format_="gnu", end=True):
    """Bytes of a tar of (name, bytes) or TarInfo."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=FORMATS[format_]) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
        size = tar.offset
    return file.getvalue() if end else file.getvalue()[:size]


def special(name, type_, link="", **fields):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type_, link
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def walk(data):
    return list(walk_tar(lambda offset, length: data[offset : offset + length], len(data)))


def damage(data):
    with pytest.raises(TarError) as error:
        walk(data)
    assert len(str(error.value)) < 1000
    return str(error.value)


@pytest.mark.parametrize("format_", FORMATS)
def test_names_and_places_are_those_that_python_finds(format_):
    names = NAMES[:2] + NAMES[4:] if format_ == "ustar" else NAMES
    members = [(name, os.urandom(number * 300)) for number, name in enumerate(names)]
    data = tar_of(
        *members,
        special("folder", tarfile.DIRTYPE),
        special("null", tarfile.CHRTYPE, devmajor=1, devminor=3),
        special("pipe", tarfile.FIFOTYPE),
        special("a/link.jpg", tarfile.SYMTYPE, "../a.jpg"),
        special("hard.jpg", tarfile.LNKTYPE, names[0]),
        ("last.jpg", b"1"),
        format_=format_,
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(normalised(m.name), m.offset_data, m.size) for m in tar if m.isfile()]
    files = [member for member in walk(data) if member.kind is Kind.FILE]
    assert [(file.name, file.offset, file.size) for file in files] == expected
    assert [data[file.offset :][: file.size] for file in files] == [
        *(content for _, content in members),
        b"1",
    ]
    kinds = [member.kind for member in walk(data)][-6:]
    assert kinds == [Kind.OTHER] * 3 + [Kind.LINK] * 2 + [Kind.FILE]


def test_links_lead_to_names_in_the_tar():
    data = tar_of(
        special("a/b/up.jpg", tarfile.SYMTYPE, "../c.jpg"),
        special("out.jpg", tarfile.SYMTYPE, "../../etc/passwd"),
        special("absolute.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard.jpg", tarfile.LNKTYPE, "a/" * 100 + "c.jpg"),
        format_="pax",
    )
    targets = [member.target for member in walk(data)]
    assert targets == ["a/c.jpg", "etc/passwd", "etc/passwd", "a/" * 100 + "c.jpg"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("./a.jpg", "a.jpg"),
        ("/etc/a.jpg", "etc/a.jpg"),
        ("//a.jpg", "a.jpg"),
        ("../../a.jpg", "a.jpg"),
        ("a/../../b.jpg", "b.jpg"),
        ("a//./b.jpg", "a/b.jpg"),
        ("http://host/a.jpg", "http:/host/a.jpg"),
        ("C:\\a.jpg", "C:\\a.jpg"),
    ],
)
def test_a_name_leads_nowhere(name, expected):
    assert walk(tar_of((name, b"")))[0].name == expected


def test_a_name_that_is_not_utf8_is_spelled_out():
    data = tar_of(("caf\udce9.jpg", b"1"))
    assert walk(data)[0].name == "caf\\xe9.jpg"


def test_files_with_holes_are_told_apart_and_passed_over():
    """GNU's old form, with a second block of its map; and that of pax."""
    head = bytearray(special("old.jpg", b"S", size=512).tobuf(tarfile.GNU_FORMAT))
    head[482] = 1
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + sum(head[156:]) + 8 * 32)
    old = bytes(head) + bytes(512) + b"\1" * 512
    info = tarfile.TarInfo("GNUSparseFile.0/new.jpg")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "new.jpg"}
    data = old + tar_of(info, ("a.jpg", b"1"), format_="pax")
    assert [(member.name, member.kind) for member in walk(data)] == [
        ("old.jpg", Kind.SPARSE),
        ("new.jpg", Kind.SPARSE),
        ("a.jpg", Kind.FILE),
    ]


def test_sizes_past_8_gigabytes():
    """Neither form fits into the octal digits of a header. The bytes in between are made up."""
    size = 9 << 30
    for format_ in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        head = special("big.bin", tarfile.REGTYPE, size=size).tobuf(format_)
        tail = tar_of(("a.jpg", b"1"))
        start = len(head) + size

        def read(offset, length, head=head, tail=tail, start=start):
            part, at = (head, offset) if offset < len(head) else (tail, offset - start)
            return part[at : at + length]

        big, small = walk_tar(read, start + len(tail))
        assert (big.size, small.offset) == (size, start + 512)


def test_tars_one_behind_the_other_are_read_as_one():
    data = tar_of(("a.jpg", b"1")) + tar_of(("b.jpg", b"2"))
    assert [member.name for member in walk(data)] == ["a.jpg", "b.jpg"]
    assert [member.name for member in walk(data + b"signature" * 100)] == ["a.jpg", "b.jpg"]


def test_comments_of_the_whole_tar_change_nothing():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", pax_headers={"comment": "a commit"}) as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    assert [member.name for member in walk(file.getvalue())] == ["a.jpg"]


class TestDamage:
    DATA = tar_of(("a.jpg", b"1" * 1000), ("b/c.jpg", b"2" * 1000))

    def test_a_tar_that_is_cut_says_where(self):
        assert damage(self.DATA[:2500]) == (
            "expected a tar, received one that is cut at byte 2,500, in 'b/c.jpg', whose 1,000 "
            "bytes begin at byte 2,048; copy it again"
        )
        assert "cut at byte 1,600, in a header" in damage(self.DATA[:1600])

    def test_cut_between_two_files_it_lacks_its_end(self):
        """Which else would look as if the second had never been."""
        assert "after 1,536 bytes the blocks of zeros are missing" in damage(self.DATA[:1536])
        assert walk(self.DATA[:1536] + bytes(1024))

    def test_wherever_it_is_cut_it_is_found(self):
        whole = tar_of(*((name, b"1" * 700) for name in NAMES), format_="pax", end=False)
        for end in range(0, len(whole), 97):
            assert damage(whole[:end])

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"", "an empty file"),
            (b"\x1f\x8b\x08" + bytes(600), "gunzip"),
            (b"PK\3\4" + bytes(600), "a zip"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "git lfs pull"),
            (b"<html>" * 200, "a file that begins with b'<html>"),
        ],
    )
    def test_something_else_is_named(self, data, expected):
        assert expected in damage(data)

    def test_a_damaged_header_says_where(self):
        data = bytearray(self.DATA)
        data[1536 + 3] ^= 1
        assert "a header whose checksum is wrong at byte 1,536" in damage(bytes(data))

    @pytest.mark.parametrize("size", [b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12])
    def test_a_size_that_lies_is_not_believed(self, size):
        head = bytearray(tarfile.TarInfo("a.jpg").tobuf())
        head[124:136] = size
        head[148:156] = b"%06o\0 " % (sum(head[:148]) + sum(head[156:]) + 8 * 32)
        assert damage(self.DATA[:3072] + bytes(head) + bytes(1024))

    def test_extensions_are_bounded(self):
        """A header may say that gigabytes of name follow."""
        for type_ in (b"L", b"x"):
            head = special("././@LongLink", type_, size=2 << 20).tobuf(tarfile.GNU_FORMAT)
            read: list[int] = []

            def reading(offset, length, head=head, read=read):
                read.append(length)
                return head[offset : offset + length]

            with pytest.raises(TarError, match="a name or pax header of 2,097,152 bytes"):
                list(walk_tar(reading, 4 << 20))
            assert max(read) == 512

    def test_a_name_longer_than_a_path_is_refused(self):
        assert "a name of 5,000 bytes" in damage(tar_of(("n" * 5000, b"")))

    @pytest.mark.parametrize(
        "record",
        [
            "0 path=a\n",
            "99 path=a\n",
            "path=a\n",
            "11 path a \n",
            "10 path=ab",
            "9" * 30,
            "9" * 5120,
        ],
    )
    def test_pax_records_of_another_length_than_they_say(self, record):
        head = special("PaxHeader", b"x", size=len(record)).tobuf(tarfile.GNU_FORMAT)
        data = head + record.encode().ljust(512, b"\0") + self.DATA
        assert "pax header whose records" in damage(data)

    def test_any_bytes_end_in_members_or_one_error(self):
        random_ = random.Random(1)
        whole = tar_of(*((name, b"1" * 10) for name in NAMES), format_="pax")
        for _ in range(300):
            data = bytearray(whole)
            for _ in range(3):
                data[random_.randrange(len(data))] = random_.randrange(256)
            try:
                members = walk(bytes(data))
            except TarError:
                continue
            assert all(member.offset + member.size <= len(data) for member in members)


def test_a_file_is_read_by_place_with_and_without_a_number(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        read, size = reader_of(file)
        assert (read(3, 4), read(8, 9), size) == (b"3456", b"89", 10)
    read, size = reader_of(io.BytesIO(b"0123456789"))
    assert (read(3, 4), read(8, 9), size) == (b"3456", b"89", 10)
