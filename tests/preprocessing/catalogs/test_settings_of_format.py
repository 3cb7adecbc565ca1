"""Settings that a format has no use for are refused by name."""

import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import check_settings_of_format
from manylabel.preprocessing.errors import PreprocessingError

COLUMNS = {"image_column": "file", "label_column": "class", "confidence_column": "score"}
FILES = {
    "coco": "labels.json",
    "open_images": "labels.csv",
    "ml_images": "labels.txt",
    "webdataset": "a.tar",
    "folder": "",
}


@pytest.mark.parametrize("format_", FILES)
def test_columns_are_of_tables_alone(tmp_path, format_):
    path = tmp_path / FILES[format_]
    if format_ != "folder":
        path.touch()
    given = CatalogConfig(path=str(path), format=format_, **COLUMNS)  # Files of settings load.
    named = ", ".join(f"preprocessing.catalog.{name}" for name in COLUMNS)
    with pytest.raises(
        PreprocessingError,
        match=f"a catalog of format {format_} has no use for {named}; remove these settings",
    ):
        check_settings_of_format(given)
    for name, value in COLUMNS.items():
        one = CatalogConfig(path=str(path), format=format_, **{name: value})
        with pytest.raises(PreprocessingError, match=f"catalog.{name}; remove that setting"):
            check_settings_of_format(one)


@pytest.mark.parametrize("format_", FILES)
def test_a_setting_that_says_what_is_so_anyway_is_none(tmp_path, format_):
    """As settings are written back, all of them."""
    path = tmp_path / FILES[format_]
    if format_ != "folder":
        path.touch()
    written = CatalogConfig(path=str(path), format=format_, confidence_column=None)
    check_settings_of_format(CatalogConfig.model_validate(written.model_dump(mode="json")))


def test_tables_have_columns(tmp_path):
    (tmp_path / "labels.csv").touch()
    check_settings_of_format(CatalogConfig(path=str(tmp_path / "labels.csv"), **COLUMNS))
