"""What a dataset is made from, as one number; what it is, its content digest says."""

import hashlib
import json

from PIL import __version__ as pillow_version

from manylabel.preprocessing.catalogs import CatalogDigest
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.storage.manifest import Manifest


def compute_fingerprint(config: PreprocessingConfig, catalog: CatalogDigest) -> str:
    """SHA-256, in hexadecimal, of settings, catalog, format version and image library.

    How the job runs is left out, and where its input lies. So are the images' own bytes, which may
    be terabytes: after changing pictures in place, overwrite the dataset.

    Args:
        config: All settings.
        catalog: Of the catalog that they name.
    """
    parts = {
        "format": Manifest.version(),
        "settings": config.model_dump(
            mode="json",
            exclude={"executor": True, "runner": True, "catalog": {"path", "image_root"}},
        ),
        "catalog": catalog.sha256,
        "pillow": pillow_version,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
