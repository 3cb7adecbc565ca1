"""Listing directories, local ones and those of object storage alike."""

from fnmatch import fnmatch

from upath import UPath


def file_sizes(directory: UPath, pattern: str = "*") -> dict[str, int]:
    """Names and bytes of the files in a directory, sorted by name; {} if there is no such one.

    By one listing: on object storage, asking for each file would take as many journeys. And not by
    UPath's glob, which takes a directory's own name, as in `data[2]`, for a pattern.

    Args:
        pattern: As of fnmatch, for the names.
    """
    files = directory.fs
    files.invalidate_cache(directory.path)  # Other processes write there too.
    try:
        listed = files.ls(directory.path, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    found = {
        entry["name"].rpartition("/")[2]: int(entry["size"] or 0)
        for entry in listed
        if entry["type"] == "file"
    }
    return {name: found[name] for name in sorted(found) if fnmatch(name, pattern)}
