"""Keeps the libraries' start-up chatter off the terminal; their errors stay."""

import logging
import os
import random
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Without a GPU driver, what TensorFlow's C++ calls an error at start-up is that there is none.
# What goes wrong later reaches Python as an exception, whatever the level.
_HAS_GPU_DRIVER = Path("/dev/nvidiactl").exists()
_TENSORFLOW_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_VARIABLES = {
    _TENSORFLOW_LEVEL: "2" if _HAS_GPU_DRIVER else "3",
    "GRPC_VERBOSITY": "ERROR",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's notice of a change to come.
}
# Whatever a user's own ~/.keras/keras.json says (channels first, another backend): models are built
# for these. Keras reads its settings file in this folder, in which there can be none.
_OURS = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": os.devnull}
# What Python shows of no module but the user's own script.
_HIDDEN_WARNINGS = (
    DeprecationWarning,
    PendingDeprecationWarning,
    ImportWarning,
    ResourceWarning,
)
_LEVELS = {
    **dict.fromkeys(("apache_beam", "ray", "tensorflow", "absl", "matplotlib"), logging.ERROR),
    # Its errors are tracebacks of steps; what a step raised reaches the job, which says it.
    "apache_beam.runners.common": logging.CRITICAL,
    # At its import in a notebook, which sets the level of its own logger anew: that widgets lack.
    "ray.widgets.util": logging.ERROR,
}
_CHATTER = re.compile(r"WARNING: All log messages before absl::InitializeLog|[IW]\d{4} \d\d:\d\d:")


def quiet_libraries() -> None:
    """To be called before they are imported: that is when they read their variables.

    Worker processes inherit them. A value that the user has set wins, except those of Keras and
    of PYTHONWARNINGS.
    """
    _quiet()
    if os.environ.pop("PYTHONWARNINGS", None):  # `error` there makes errors of the libraries' own
        warnings.resetwarnings()
        for kind in _HIDDEN_WARNINGS:
            warnings.simplefilter("ignore", kind)
    # What is logged on the root itself, not on a logger below it, is of no module of ours: Beam
    # warns so about cloud clients that are not installed and not needed.
    logging.getLogger().addFilter(_is_error)


def let_libraries_speak() -> None:
    """Undoes TensorFlow's level and those of loggers, for `--verbose`.

    To be called before the libraries are imported. Other variables stay as they are, and so do the
    filters of warnings: with `error` in PYTHONWARNINGS, the libraries' own would end them.
    """
    if os.environ.get(_TENSORFLOW_LEVEL) == _VARIABLES[_TENSORFLOW_LEVEL]:
        os.environ[_TENSORFLOW_LEVEL] = "0"
    for name in _LEVELS:
        logging.getLogger(name).setLevel(logging.INFO)  # not NOTSET: it has been said
    logging.getLogger().removeFilter(_is_error)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")


@contextmanager
def quiet_for_a_while() -> Iterator[None]:
    """The same within someone else's process, where all is as before after the block.

    What the libraries read of it when they are first imported, and processes that are started when
    they are, stays with these. Filters of warnings that PYTHONWARNINGS made are the caller's own.
    """
    names = (*_VARIABLES, *_OURS, "PYTHONWARNINGS")
    variables = {name: os.environ.get(name) for name in names}
    levels = {name: logging.getLogger(name).level for name in _LEVELS}
    handlers, random_state = logging.root.handlers[:], random.getstate()
    try:
        with warnings.catch_warnings():
            _quiet()
            os.environ.pop("PYTHONWARNINGS", None)
            for kind in _HIDDEN_WARNINGS:
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        # A library that warns on the root logger sets one up, where there is none.
        logging.root.handlers[:] = handlers
        random.setstate(random_state)


def _quiet() -> None:
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    os.environ.update(_OURS)
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)


@contextmanager
def quiet_imports() -> Iterator[None]:
    """For importing TensorFlow: while it loads, its C++ logs whatever the level is set to.

    Standard error is held back while the block runs; then all of it but the chatter is shown.
    """
    is_closed = sys.stderr is None  # As Python found it: nobody is shown anything.
    if is_closed or os.environ.get(_TENSORFLOW_LEVEL) == "0":  # as of `let_libraries_speak`
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            held_back.seek(0)
            for line in held_back.read().decode("utf-8", "replace").splitlines():
                if not _CHATTER.match(line):
                    print(line, file=sys.stderr)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
