"""What a dataset is made from, as one number; what it is, its content digest says."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from PIL import __version__ as pillow_version

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import CatalogDigest
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.label_sets import MlImagesConfig, OpenImagesConfig
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

_HOW = ("executor", "runner")
_PLACES = ("path", "image_root")
_PLACES_IN = {
    "open_images": {"more_labels", "class_descriptions", "hierarchy", "image_list"},
    "ml_images": {"dictionary"},
}
"""Settings that say how a job runs and where input lies, which are left out."""

_AS_BEFORE = CatalogConfig(path="any").model_dump(mode="json")
_AS_BEFORE_IN = {
    "open_images": OpenImagesConfig().model_dump(mode="json"),
    "ml_images": MlImagesConfig().model_dump(mode="json"),
}


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
        "settings": settings_that_count(config.model_dump(mode="json")),
        "catalog": catalog.sha256,
        "pillow": pillow_version,
    }
    if heldout is not None:
        parts["heldout_catalog"] = heldout.sha256
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def settings_that_count(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that no dataset had when their names were not known: its number stays.

    Args:
        settings: As JSON, of this version or an earlier one, which lack the later ones.
    """
    tree = {name: values for name, values in settings.items() if name not in _HOW}
    images, heldout = dict(tree.get("images", {})), dict(tree.get("heldout", {}))
    if images.get("resampling") == Resampling.LANCZOS:
        del images["resampling"]
    of_heldout = heldout.pop("catalog", None)
    if of_heldout is not None:
        heldout["catalog"] = _of_catalog(of_heldout)
    catalog = _of_catalog(tree.get("catalog", {}))
    for name in ("split_column", "split"):
        if catalog.get(name) is None:
            catalog.pop(name, None)
    counted = {"images": images, "heldout": heldout, "catalog": catalog}
    return tree | {name: values for name, values in counted.items() if name in tree}


def _of_catalog(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a catalog that count; a section that says nothing new is as none."""
    catalog = {name: value for name, value in settings.items() if name not in _PLACES}
    for section, places in _PLACES_IN.items():
        if catalog.get(section) is not None:
            rest = {name: catalog[section][name] for name in catalog[section].keys() - places}
            says_nothing = rest.items() <= _AS_BEFORE_IN[section].items()
            catalog[section] = None if says_nothing else rest
    for name in _LATER_SETTINGS & catalog.keys():
        if catalog[name] == _AS_BEFORE[name]:
            del catalog[name]
    if "http" in catalog:
        catalog["http"] = True  # How they are fetched changes nothing of those that arrive.
    return catalog
