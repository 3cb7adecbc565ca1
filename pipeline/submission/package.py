"""What travels to the cluster: the request, its settings, and our code where a node lacks it."""

import importlib.metadata
import importlib.resources
import io
import os
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import yaml

from manylabel.pipeline.submission.request import REQUEST, SETTINGS, JobRequest

_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""Of what a zip file can tell: equal content is an equal file, which a cluster keeps once."""

_IN_WHEEL = (
    "*.py",
    "py.typed",
    "deploy/dashboard/templates/*.html",
    "deploy/dashboard/static/*",
    "deploy/kubernetes/*.yaml",
    "pipeline/presets/*.yaml",
)
"""As package_data in setup.cfg; a checkout has more."""


def job_package(request: JobRequest, *, with_code: bool) -> bytes:
    """A zip file that becomes the job's folder; equal for equal content.

    Args:
        with_code: also the installed package `manylabel`, as a wheel would have it: no tests, no
            examples, no history.
    """
    files = {REQUEST: request.to_bytes()}
    if request.settings is not None:
        files[SETTINGS] = yaml.safe_dump(request.settings, sort_keys=False).encode()
    if with_code:
        files |= code_files()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EARLIEST), files[name])
    return buffer.getvalue()


def code_files() -> dict[str, bytes]:
    """The installed package, by the names that a wheel gives its files."""
    root = Path(str(importlib.resources.files("manylabel")))
    found = {}
    for folder, folders, names in os.walk(root, followlinks=True):  # of a checkout: links
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in (Path(folder, name) for name in names):
            name = path.relative_to(root).as_posix()
            if any(fnmatch(name, pattern) for pattern in _IN_WHEEL):
                found[f"manylabel/{name}"] = path.read_bytes()
    distribution = importlib.metadata.distribution("manylabel")
    metadata = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    version = distribution.version
    # What tells Python the package's version, as an installed one's does.
    found[f"manylabel-{version}.dist-info/METADATA"] = metadata.encode()
    return found
