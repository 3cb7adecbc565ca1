"""Opens a catalog of any format."""

from collections.abc import Iterator

from upath import UPath

from manylabel.preprocessing.catalogs.csv_file import read_csv
from manylabel.preprocessing.catalogs.folder import read_folder
from manylabel.preprocessing.catalogs.parquet_file import read_parquet
from manylabel.preprocessing.catalogs.rows import CatalogRow
from manylabel.preprocessing.config import CatalogConfig, CatalogFormat
from manylabel.preprocessing.errors import PreprocessingError

_READERS = {
    CatalogFormat.CSV: read_csv,
    CatalogFormat.PARQUET: read_parquet,
    CatalogFormat.FOLDER: read_folder,
}


def read_catalog(config: CatalogConfig) -> Iterator[CatalogRow]:
    """The rows in the catalog's own order.

    Raises:
        PreprocessingError: there is no such catalog, or it is not of its format.
    """
    return _READERS[detect_format(config)](config)


def detect_format(config: CatalogConfig) -> CatalogFormat:
    """The format given or, for `auto`, found from the path; checks that the path is of its kind."""
    path = UPath(config.path)
    if not path.exists():
        raise PreprocessingError(
            f"{path}: no such catalog; set preprocessing.catalog.path to a CSV or Parquet file "
            "or to a folder of images"
        )
    found = config.format
    if found is CatalogFormat.AUTO:
        found = CatalogFormat.FOLDER if path.is_dir() else _by_suffix(path)
    if path.is_dir() != (found is CatalogFormat.FOLDER):
        received = "a folder" if path.is_dir() else "a file"
        raise PreprocessingError(
            f"{path}: expected a catalog of format {found}, received {received}; set "
            "preprocessing.catalog.format to auto"
        )
    return found


def image_root(config: CatalogConfig) -> UPath:
    """The directory that the catalog's image paths start from, resolved.

    A local one is a `pathlib.Path`, however it is spelled: what is checked for local files hangs
    on that.
    """
    path = UPath(config.path)
    if config.image_root is not None:
        root = UPath(config.image_root)
    else:
        root = path if path.is_dir() else path.parent
    if not root.is_dir():
        raise PreprocessingError(
            f"{root}: no such directory; set preprocessing.catalog.image_root to where the "
            "catalog's image paths start"
        )
    if root.protocol in ("file", "local"):
        root = UPath(root.path)
    return root.resolve()


def _by_suffix(path: UPath) -> CatalogFormat:
    suffixes = {".csv": CatalogFormat.CSV, ".parquet": CatalogFormat.PARQUET}
    try:
        return suffixes[path.suffix.lower()]
    except KeyError:
        raise PreprocessingError(
            f"{path}: expected a file that ends in {' or '.join(suffixes)}, or a folder; set "
            "preprocessing.catalog.format to what it is"
        ) from None
