"""What a dataset is made from, as one number; what it is, its content digest says."""

import hashlib
import json

from PIL import __version__ as pillow_version

from manylabel.preprocessing.catalogs import read_catalog
from manylabel.preprocessing.config import CatalogConfig, PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.storage.manifest import Manifest


def compute_fingerprint(config: PreprocessingConfig) -> str:
    """SHA-256, in hexadecimal, of settings, catalog, format version and image library.

    How the job runs is left out, and where its input lies. So are the images' own bytes, which may
    be terabytes: after changing pictures in place, overwrite the dataset.

    Raises:
        PreprocessingError: the catalog cannot be read to its end, or lists nothing.
    """
    parts = {
        "format": Manifest.version(),
        "settings": config.model_dump(
            mode="json", exclude={"runner": True, "catalog": {"path", "image_root"}}
        ),
        "catalog": catalog_digest(config.catalog),
        "pillow": pillow_version,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def catalog_digest(config: CatalogConfig) -> str:
    """SHA-256 of all rows in order. As it reads them all, a broken catalog fails here, at once."""
    digest = hashlib.sha256()
    listed = False
    for row in read_catalog(config):
        listed = True
        digest.update(repr((row.image, row.label, row.confidence, row.group)).encode())
    if not listed:
        raise PreprocessingError(
            f"{config.path}: the catalog is empty; expected at least one image with a label"
        )
    return digest.hexdigest()
