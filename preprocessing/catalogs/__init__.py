"""Catalogs: what lists the images and their labels.

Every reader gives tables of many rows one after another and holds none back, so that a catalog may
be larger than memory.
"""

from manylabel.preprocessing.catalogs.digest import CatalogDigest, catalog_digest
from manylabel.preprocessing.catalogs.files import catalog_files
from manylabel.preprocessing.catalogs.location import (
    catalog_path,
    catalogs_of,
    detect_format,
    image_root,
    root_spellings,
)
from manylabel.preprocessing.catalogs.read import (
    Piece,
    catalog_pieces,
    count_rows,
    first_rows,
    label_parents,
    read_piece,
)
from manylabel.preprocessing.catalogs.settings_of_format import check_settings_of_format

__all__ = [
    "CatalogDigest",
    "Piece",
    "catalog_digest",
    "catalog_files",
    "catalog_path",
    "catalog_pieces",
    "catalogs_of",
    "check_settings_of_format",
    "count_rows",
    "detect_format",
    "first_rows",
    "image_root",
    "label_parents",
    "read_piece",
    "root_spellings",
]
