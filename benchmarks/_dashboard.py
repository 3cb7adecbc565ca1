"""The dashboard as its users have it: the command in a process of its own, and Debian's Chromium.

For benchmarks, the tests in tests/browser and docs/screenshots.py.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

INSTALL_CHROMIUM = "apt-get install chromium"


class ServerError(Exception):
    """The dashboard, or the browser, cannot be started."""


@dataclass(frozen=True)
class Served:
    """A dashboard that answers.

    Attributes:
        url: Its address, without a slash at the end.
        opened: What it tells people to open, with the token, if it asks for one.
        process: Its process id.
    """

    url: str
    opened: str
    process: int

    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far, those that ended as well."""
        # clock_getcpuclockid(3), which Python lacks: Linux makes a clock's number of a process's.
        return time.clock_gettime(~self.process << 3 | 2)

    def memory(self) -> int:
        """Resident bytes."""
        for line in Path(f"/proc/{self.process}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return 1024 * int(line.split()[1])
        raise ServerError(f"/proc/{self.process}/status: expected VmRSS, found none")


@contextmanager
def serving(root: Path, *options: str, folder: Path | None = None) -> Iterator[Served]:
    """Runs `manylabel dashboard ROOT` on a free port until the block ends.

    Args:
        options: Further arguments.
        folder: Where it runs, if not here.

    Raises:
        ServerError: it ended, with what it said.
    """
    manylabel = Path(sys.executable).with_name("manylabel")
    command = [str(manylabel), "dashboard", str(root), "--port", "0", *options]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()  # Its address, when it listens.
            if not said.startswith("http://"):
                raise ServerError(f"manylabel dashboard: {said}{process.stdout.read()}".strip())
            opened = said.split()[0]
            yield Served(opened.partition("?")[0].rstrip("/"), opened, process.pid)
        finally:
            process.terminate()


def chromium() -> str | None:
    """Where Debian's Chromium is; None: nowhere, INSTALL_CHROMIUM brings it."""
    return shutil.which("chromium")


@contextmanager
def browsing() -> Iterator[Browser]:
    """A headless Chromium.

    Raises:
        ServerError: there is none.
    """
    path = chromium()
    if path is None:
        raise ServerError(f"expected chromium on the PATH, found none; {INSTALL_CHROMIUM}")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # It has none for root.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
