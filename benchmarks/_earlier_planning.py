"""Phase one of commit db3c898 on a catalog of pictures that do not exist, for catalog_growth.py.

    python _earlier_planning.py CATALOG SMALL_CATALOG OUTPUT IMAGES

In an environment of `_earlier_code`; imports nothing of today's code. What the pictures' files say
is worked out beforehand: that code asks for one picture at a time.
"""

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from upath import UPath

from benchmarks._made_up_pictures import facts_by_name, names_of
from benchmarks._measured import measure, tell

facts: dict[str, tuple[str, bytes]] = {}


def check(candidate: Any, image_root: object, policy: object) -> Any:
    """In place of `preprocessing.keys.check`."""
    digest, look = facts[candidate.image_id]
    return replace(candidate, digest=digest, perceptual_hash=look)


def plan(catalog: Path, root: Path) -> None:
    """Phase one, in this process, from the catalog to the finished plan."""
    keys, job = import_module("preprocessing.keys"), import_module("preprocessing.job")
    config_of = import_module("preprocessing.config").PreprocessingConfig.model_validate
    compute_fingerprint = import_module("preprocessing.fingerprint").compute_fingerprint
    setattr(keys, "check", check)  # noqa: B010  mypy knows no such module
    config = config_of({"catalog": {"path": str(catalog)}})
    job._make_plan(config, compute_fingerprint(config), UPath(catalog.parent), UPath(root))


def main() -> None:
    """Plans a small catalog and then the one that is measured."""
    catalog, warm_up, output, images = sys.argv[1:]
    facts.update(facts_by_name(names_of(np.arange(int(images), dtype=np.uint64))))
    plan(Path(warm_up), Path(output, "warm-up"))
    tell(measure(lambda: plan(Path(catalog), Path(output, "measured"))))


if __name__ == "__main__":
    # Beam pickles what belongs to the main program, with all of `facts`, and goes by name else.
    import_module("benchmarks._earlier_planning").main()
