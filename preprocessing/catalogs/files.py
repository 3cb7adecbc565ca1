"""Which files a catalog is made of."""

import posixpath

from manylabel.preprocessing.catalogs.location import (
    catalog_path,
    detect_format,
    stands_for_tars,
)
from manylabel.preprocessing.catalogs.parts import list_parts
from manylabel.preprocessing.catalogs.tar_files import folder_of_pattern, list_tars, match_tars
from manylabel.preprocessing.config import CatalogConfig, CatalogFormat
from manylabel.preprocessing.errors import PreprocessingError


def catalog_files(config: CatalogConfig) -> list[str]:
    """All files that say what the catalog lists, in order, as the settings spell paths.

    A folder of pictures has none: its listing says it.

    Raises:
        PreprocessingError: there is no such catalog, or it is not of its format.
    """
    found = detect_format(config)
    if found is CatalogFormat.FOLDER:
        return []
    path = catalog_path(config)
    if stands_for_tars(config):
        folder = folder_of_pattern(config.path)
        below = one_file(config, folder)
        return [posixpath.join(folder, tar) for tar in match_tars(config.path, catalog_path(below))]
    if not path.is_dir():
        return [config.path]
    names = list_tars(path) if found is CatalogFormat.WEBDATASET else list_parts(path)
    files = [posixpath.join(config.path, name) for name in names]
    if not files:
        raise PreprocessingError(
            f"{config.path}: expected a folder of {found} files, received one without any; set "
            f"{config.SECTION}.path to where they are"
        )
    return files


def one_file(config: CatalogConfig, file: str) -> CatalogConfig:
    """The settings of a catalog for the reader of one of its files, which its errors then name.

    Args:
        file: One of `catalog_files`.
    """
    return config.model_copy(update={"path": file})
