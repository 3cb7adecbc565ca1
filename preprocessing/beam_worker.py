"""A worker process of `beam_runner`: Beam's own, without its account of starting up.

Errors are still logged, and an exception in a transform reaches the job through Beam's protocol.
"""

import logging


def main() -> None:
    """Serves the runner that the environment variables name, until it hangs up."""
    logging.disable(logging.WARNING)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])


if __name__ == "__main__":
    main()
