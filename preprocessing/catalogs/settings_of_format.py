"""Which settings of a catalog say nothing of the format that it has."""

from manylabel.preprocessing.catalog_config import (
    COLUMNS,
    WITHOUT_USE,
    CatalogConfig,
    CatalogFormat,
)
from manylabel.preprocessing.catalogs.location import TABLES, detect_format
from manylabel.preprocessing.errors import PreprocessingError


def check_settings_of_format(catalog: CatalogConfig) -> None:
    """Raises PreprocessingError where one is set that the format, given or found, cannot use."""
    found = detect_format(catalog)
    without_use = [*WITHOUT_USE.get(found, ())]
    if found not in TABLES:
        without_use += [name for name in COLUMNS if getattr(catalog, name) is not None]
    given = [f"{catalog.SECTION}.{name}" for name in without_use if catalog.is_set(name)]
    if given:
        remedy = "remove that setting" if len(given) == 1 else "remove these settings"
        raise PreprocessingError(
            f"{catalog.path}: a catalog of format {found} has no use for {', '.join(given)}; "
            f"{remedy}, or list the images in a CSV or Parquet file"
        )
    if found is not CatalogFormat.WEBDATASET and catalog.is_set("webdataset"):
        raise PreprocessingError(
            f"{catalog.path}: expected tars, received a catalog of format {found} and settings of "
            f"{catalog.SECTION}.webdataset; remove those settings"
        )
