"""What setup.cfg cannot say: a README for an index, and links in the source distribution."""

import configparser
import os
import re
from collections.abc import Sequence
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
MODULES = Path("src", "manylabel")
# [title](path) or ![title](path), where the path is relative.
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


def standing_alone(text: str, source: str | None) -> str:
    """README.md for a page that is not beside the repository's files, as on an index.

    Args:
        text: Markdown whose links are relative to the repository.
        source: Web address of the repository. Without one a link becomes the name of its file,
            which the source distribution has, and a picture its title.
    """

    def elsewhere(match: re.Match[str]) -> str:
        picture, title, path = match.groups()
        if source:
            kind = "raw" if picture else "blob"
            return f"{picture}[{title}]({source.rstrip('/')}/{kind}/HEAD/{path})"
        return f"*{title}*" if picture else f"{title} ({path})"

    return _LINK.sub(elsewhere, text)


def description() -> str:
    """README.md, with links to where setup.cfg says that the source is."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", "utf-8")
    urls = settings.get("metadata", "project_urls", fallback="").split("\n")
    named = dict(line.split(" = ", 1) for line in urls if line)
    return standing_alone((ROOT / "README.md").read_text("utf-8"), named.get("Source"))


class LinkedSdist(sdist):
    """Packs the links of src/manylabel as links; setuptools alone packs each module twice."""

    def make_release_tree(self, base_dir: str, files: Sequence[str]) -> None:
        links = [path for path in sorted(MODULES.iterdir()) if path.is_symlink()]
        kept = [file for file in files if not any(link in Path(file).parents for link in links)]
        super().make_release_tree(base_dir, kept)
        for link in links:
            os.symlink(os.readlink(link), Path(base_dir, link))


if __name__ == "__main__":
    setup(cmdclass={"sdist": LinkedSdist}, long_description=description())
