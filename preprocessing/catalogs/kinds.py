"""What a file is that is no catalog of ours, by its first bytes, and what to do with it."""

import codecs
import re
from typing import NamedTuple

HEAD_BYTES = 8192
"""Of a file's start that are looked at."""

_MOST_TEXT_NULS = 0.3
"""Share of NULs in UTF-16 text of Latin script is a half; what is no text at all may have more on
both sides."""


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        name: With its article.
        remedy: What to do, as an imperative; `SECTION` stands for where the settings are.
    """

    name: str
    remedy: str


_TO_PARQUET = "write it as Parquet, e.g. with pandas.{}(...).to_parquet(...)"
_UNPACK = "unpack it, and name the file inside"

_WORKBOOK = Kind("an Excel workbook", "save its sheet as CSV UTF-8, and name that file")
_PICKLE = Kind(
    "a pickle, which is never opened, since it may run anything",
    "write it as Parquet where it was made, e.g. with DataFrame.to_parquet(...)",
)

_BY_START = (
    (b"PAR1", Kind("Parquet", "set SECTION.format to parquet")),
    (b"PARE", Kind("encrypted Parquet", "write it without encryption")),
    (b"ARROW1", Kind("an Arrow or Feather file", _TO_PARQUET.format("read_feather"))),
    (b"FEA1", Kind("a Feather file", _TO_PARQUET.format("read_feather"))),
    (
        b"\xff\xff\xff\xff",
        Kind(
            "a stream of Arrow tables",
            "write it as Parquet, e.g. with pyarrow.ipc.open_stream and pyarrow.parquet",
        ),
    ),
    (b"ORC", Kind("an ORC file", _TO_PARQUET.format("read_orc"))),
    (b"Obj\x01", Kind("an Avro file", "write it as Parquet or as JSON lines")),
    (
        b"SQLite format 3\0",
        Kind("an SQLite database", "write the table as CSV, e.g. with sqlite3 -header -csv"),
    ),
    (b"\x89HDF\r\n\x1a\n", Kind("an HDF5 file", _TO_PARQUET.format("read_hdf"))),
    (b"MATLAB 5.0", Kind("a MATLAB file", "write it as CSV or Parquet")),
    (b"\x93NUMPY", Kind("a NumPy array", "write it as CSV or Parquet")),
    (b"\xd0\xcf\x11\xe0", _WORKBOOK),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", _UNPACK)),
    (b"Rar!", Kind("a RAR archive", _UNPACK)),
    (b"\x1f\x8b", Kind("a gzip file", "unpack it")),
    (b"BZh", Kind("a bzip2 file", "unpack it, or pack it with gzip")),
    (b"\xfd7zXZ\0", Kind("an xz file", "unpack it, or pack it with gzip")),
    (b"\x28\xb5\x2f\xfd", Kind("a zstd file", "unpack it, or pack it with gzip")),
    (b"%PDF", Kind("a PDF", "write its table as CSV")),
    (b"\xff\xd8\xff", Kind("a picture", "name the folder it is in, or a file that lists labels")),
    (b"\x89PNG", Kind("a picture", "name the folder it is in, or a file that lists labels")),
    (
        b"version https://git-lfs.github.com/spec/",
        Kind("a Git LFS pointer in place of the file", "fetch the file with git lfs pull"),
    ),
)

_IN_ZIP = (
    (b"application/vnd.oasis", Kind("an OpenDocument sheet", _WORKBOOK.remedy)),
    (b"[Content_Types].xml", _WORKBOOK),
    (b"xl/", _WORKBOOK),
    (b"/data.pkl", _PICKLE),
    (b".npy", Kind("a NumPy archive", "write it as CSV or Parquet")),
)

_PICKLED = re.compile(rb"\x80[\x02-\x05][\x95}\](cX]|\x80\x02")
_PAGE = re.compile(rb"\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_ARRAY = re.compile(rb"\[\s*\{")
_OBJECT_OF_LINES = re.compile(rb'\{\s*\n\s*"')
_OBJECT = re.compile(rb'\{[ \t]*"[^"\n]*"[ \t]*:')
_ML_IMAGES = re.compile(rb"\S[^\t\r\n]*?([ \t]+\d+:[01](\.\d+)?)+\s*\n")
_XML = re.compile(rb"\s*<\?xml\b")


def kind_of(head: bytes) -> Kind | None:
    """None for what may be text in UTF-8 and no other format that is known here.

    Args:
        head: The first HEAD_BYTES, or all of a shorter file.
    """
    for start, kind in _BY_START:
        if head.startswith(start):
            return kind
    if head.startswith(b"PK\x03\x04"):
        inside = (kind for mark, kind in _IN_ZIP if mark in head)
        return next(inside, Kind("a zip archive", _UNPACK))
    if head[257:262] == b"ustar":
        return Kind("a tar archive", f"set SECTION.format to webdataset, or {_UNPACK}")
    if _PICKLED.match(head):
        return _PICKLE
    head = head.removeprefix(codecs.BOM_UTF8)
    if _PAGE.match(head):
        return Kind(
            "a page of a web site, as for a log-in or an error", "fetch the file itself again"
        )
    if _XML.match(head):
        return Kind("XML", "write it as CSV or Parquet")
    return _utf_16_or_32(head)


def json_kind(head: bytes) -> Kind | None:
    """What a file is that is to be a CSV and is JSON."""
    head = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if _ARRAY.match(head):
        return Kind("a JSON array", "write an object a line, e.g. with jq -c '.[]', as .jsonl")
    if _OBJECT_OF_LINES.match(head):
        return Kind("JSON of several lines", "write an object a line, e.g. with jq -c, as .jsonl")
    if _OBJECT.match(head):
        return Kind("JSON lines", "set SECTION.format to jsonl")
    return None


def is_ml_images(head: bytes) -> bool:
    """Whether a line is an image and numbers of classes with their confidences."""
    return _ML_IMAGES.match(head) is not None


def _utf_16_or_32(head: bytes) -> Kind | None:
    """Text as Excel's "Unicode Text" and PowerShell's `>` write it, with or without its mark."""
    for mark, name in (
        (codecs.BOM_UTF32_LE, "UTF-32"),
        (codecs.BOM_UTF32_BE, "UTF-32"),
        (codecs.BOM_UTF16_LE, "UTF-16"),
        (codecs.BOM_UTF16_BE, "UTF-16"),
    ):
        if head.startswith(mark):
            return _other_encoding(name)
    even, odd = head[0::2], head[1::2]
    for with_nuls, without, name in ((odd, even, "UTF-16LE"), (even, odd, "UTF-16BE")):
        if with_nuls.count(0) > _MOST_TEXT_NULS * len(head) and not without.count(0):
            return _other_encoding(name)
    return None


def _other_encoding(name: str) -> Kind:
    return Kind(
        f"text in {name}",
        f"save it as UTF-8, or convert it with iconv -f {name} -t UTF-8 OLD > NEW",
    )
