"""The whole job of commit db3c898, for preprocess.py.

    python _earlier_preprocessing.py CATALOG OUTPUT PROCESSES IMAGES_PER_SHARD

In an environment of `_earlier_code`; imports nothing of today's code.
"""

import sys
from importlib import import_module

from benchmarks._measured import measure, tell


def main() -> None:
    """Makes the dataset."""
    preprocess = import_module("preprocessing.job").preprocess
    config_of = import_module("preprocessing.config").PreprocessingConfig.model_validate
    catalog, output, processes, images_per_shard = sys.argv[1:]
    config = config_of(
        {
            "catalog": {"path": catalog},
            "shards": {"images_per_shard": int(images_per_shard)},
            "runner": {"processes": int(processes)},
        }
    )
    tell(measure(lambda: preprocess(config, output)))


if __name__ == "__main__":
    main()
