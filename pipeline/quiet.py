"""Keeps the libraries' start-up chatter off the terminal; their errors stay."""

import logging
import os

_VARIABLES = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # TensorFlow's C++: errors, not the list of CPU features.
    "GRPC_VERBOSITY": "ERROR",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's notice of a change to come.
}
_LOGGERS = ("apache_beam", "ray", "tensorflow", "absl")


def quiet_libraries() -> None:
    """To be called before they are imported: that is when they read their variables.

    Worker processes inherit them. A value that the user has set wins.
    """
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
