"""What may be wrong with all paths of a catalog at once, told by those that led nowhere."""

import ntpath
import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.rejections import RejectReason
from manylabel.storage.tables import read_table, table_parts

_FILE = re.compile("file://[^/]*")

_ABSOLUTE = r"^(?:file://[^/]*)?/|^[A-Za-z]:[\\/]|^\\\\|^~[^/]*/"
"""Of this machine, of Windows, of a share, or below a home."""

_REMARK = r"; there is one (?P<remark>[^;]+)$"
"""What `fetch` adds to a file that is missing."""


def path_doubts(catalog: CatalogConfig, rejected: UPath) -> list[str]:
    """Lines for the report on a catalog; empty for none.

    Args:
        catalog: Its settings.
        rejected: Table of its rejections.
    """
    remarks: Counter[str] = Counter()
    ends: list[str] = []
    absolute = missing = urls = private = 0
    for part in table_parts(rejected):
        table = read_table(part)
        is_missing = pc.equal(table.column("reason"), RejectReason.MISSING_FILE)
        details = pc.extract_regex(table.column("detail").filter(is_missing), _REMARK)
        missing += len(details)
        for entry in pc.value_counts(pc.struct_field(details, 0)).to_pylist():
            if entry["values"] is not None:
                remarks[entry["values"]] += entry["counts"]
        reasons = table.column("reason")
        private += _count(pc.equal(reasons, RejectReason.ADDRESS_REFUSED))
        is_url = pc.match_substring_regex(table.column("image_id"), r"^(?i)https?://")
        urls += _count(pc.and_(is_url, pc.equal(reasons, RejectReason.BAD_PATH)))
        names = _absolute_names(table)
        absolute += len(names)
        ends += [end for end in pc.min_max(names).as_py().values() if end is not None]
    doubts = [
        f"{count:,} of {missing:,} missing files: for each there is one {remark}; "
        f"{_remedy(remark, catalog)}"
        for remark, count in remarks.most_common()
    ]
    if absolute:
        doubts.insert(0, _of_absolute(absolute, ends, catalog))
    if urls:
        doubts.append(f"{urls:,} paths are URLs: set {catalog.SECTION}.http to {{}} to fetch them")
    if private:
        doubts.append(
            f"{private:,} pictures are at private addresses: name their networks in "
            f"{catalog.SECTION}.http.allowed_networks, such as 127.0.0.0/8 for this machine"
        )
    return doubts


def _count(mask: pa.ChunkedArray) -> int:
    return pc.sum(mask).as_py() or 0


def _remedy(remark: str, catalog: CatalogConfig) -> str:
    if remark.startswith("from "):
        return f"set {catalog.SECTION}.image_root to it"
    if "image_suffix" in remark:
        return f"set {catalog.SECTION}.image_suffix"
    return f"mend the paths in {catalog.path}"


def _absolute_names(table: pa.Table) -> pa.ChunkedArray:
    reasons = pa.array([RejectReason.MISSING_FILE, RejectReason.BAD_PATH])
    names = table.column("image_id").filter(pc.is_in(table.column("reason"), reasons))
    return names.filter(pc.match_substring_regex(names, _ABSOLUTE))


def _of_absolute(count: int, ends: Iterable[str], catalog: CatalogConfig) -> str:
    """
    Args:
        count: Of the absolute paths.
        ends: Some of them; the first and the last by code point are among them, so what these have
            in common all have.
        catalog: That lists them.
    """
    setting = f"{catalog.SECTION}.image_root"
    folder = _common_folder([_FILE.sub("", end) for end in ends])
    if folder is None:
        return f"{count:,} paths are absolute: take off what is not below {setting}"
    if folder.startswith("/") and Path(folder).is_dir():
        return f"{count:,} paths are absolute, below {folder}: set {setting} to it"
    return (
        f"{count:,} paths are absolute, below {folder}, which is not on this machine: take that "
        f"off the paths in {catalog.path}, and set {setting} to where the pictures are"
    )


def _common_folder(names: list[str]) -> str | None:
    """None where they have nothing in common."""
    flavour = posixpath if all(name.startswith(("/", "~")) for name in names) else ntpath
    try:
        return flavour.commonpath([flavour.dirname(name) for name in names]) or None
    except ValueError:  # Of several drives, or of both kinds.
        return None
