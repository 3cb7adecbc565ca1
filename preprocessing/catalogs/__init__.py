"""Catalogs: what lists the images and their labels.

Every reader gives `CatalogRow`s one after another and holds none back, so that a catalog may be
larger than memory.
"""

from manylabel.preprocessing.catalogs.read import detect_format, image_root, read_catalog
from manylabel.preprocessing.catalogs.rows import CatalogRow

__all__ = ["CatalogRow", "detect_format", "image_root", "read_catalog"]
