"""What a dataset is made from, as one number; what it is, its content digest says."""

import hashlib
import json
from typing import Any

from PIL import __version__ as pillow_version

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import CatalogDigest
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.storage.image_policy import Resampling
from manylabel.storage.manifest import Manifest

_LATER_SETTINGS = frozenset(
    {
        "delimiter",
        "header",
        "http",
        "image_suffix",
        "label_separator",
        "label_columns",
        "label_cells",
        "label_zeros",
        "null_values",
        "webdataset",
        "open_images",
        "ml_images",
    }
)
"""Of catalogs, of either side: each came when there were datasets already."""


def compute_fingerprint(
    config: PreprocessingConfig, catalog: CatalogDigest, heldout: CatalogDigest | None = None
) -> str:
    """SHA-256, in hexadecimal, of settings, catalogs, format version and image library.

    How the job runs is left out, and where its input lies. So are the images' own bytes, which may
    be terabytes: after changing pictures in place, overwrite the dataset.

    Args:
        config: All settings.
        catalog: Of the catalog that they name.
        heldout: Of the held-out catalog, where they name one.
    """
    parts = {
        "format": Manifest.version(),
        "settings": _settings_that_count(config),
        "catalog": catalog.sha256,
        "pillow": pillow_version,
    }
    if heldout is not None:
        parts["heldout_catalog"] = heldout.sha256
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _settings_that_count(config: PreprocessingConfig) -> dict[str, Any]:
    """Without those that no dataset had when their names were not known: its number stays."""
    places: Any = {
        "path": True,
        "image_root": True,
        "open_images": {"more_labels", "class_descriptions", "hierarchy", "image_list"},
        "ml_images": {"dictionary"},
    }
    tree = config.model_dump(
        mode="json",
        exclude={
            "executor": True,
            "runner": True,
            "catalog": places,
            "heldout": {"catalog": places},
        },
    )
    if config.images.resampling is Resampling.LANCZOS:
        del tree["images"]["resampling"]
    if config.heldout.catalog is None:
        del tree["heldout"]["catalog"]
    for name in ("split_column", "split"):
        if getattr(config.catalog, name) is None:
            del tree["catalog"][name]
    as_before = CatalogConfig(path="any").model_dump(mode="json")
    for catalog in (tree["catalog"], tree["heldout"].get("catalog", {})):
        for name in _LATER_SETTINGS & catalog.keys():
            if catalog[name] == as_before[name]:
                del catalog[name]
        if "http" in catalog:
            catalog["http"] = True  # How they are fetched changes nothing of those that arrive.
    return tree
