"""Tar files: which files are in them and where. Nothing is ever unpacked, and names of members are
names and never paths: no other file is opened for one."""

from manylabel.preprocessing.tars.index import IndexCache, TarIndex, make_index
from manylabel.preprocessing.tars.walk import Kind, Member, Read, TarError, normalised, walk_tar

__all__ = [
    "IndexCache",
    "Kind",
    "Member",
    "Read",
    "TarError",
    "TarIndex",
    "make_index",
    "normalised",
    "walk_tar",
]
