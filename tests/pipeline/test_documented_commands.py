"""Every command line of ours on the pages for users is one that the command line takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from manylabel.pipeline.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def command_lines(text: str) -> Iterator[str]:
    """From "manylabel" on, in blocks of shell: joined over lines, cut at pipes and redirections."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if found := re.search(r"(?:^|-- |\$ |[A-Z_]+=\S+ )\s*(manylabel .*)", line):
                yield re.split(r" (?:\||>|2>|&)", f"{found[1]} ")[0].strip()


def documented() -> list[tuple[str, str]]:
    return [(page.name, line) for page in PAGES for line in command_lines(page.read_text("utf-8"))]


def parse(words: list[str]) -> None:
    """As the command line does, without carrying anything out."""
    command: Any = get_command(app)
    context = None
    name, *rest = words
    while commands := getattr(command, "commands", None):
        context = command.make_context(name, list(rest), parent=context)
        name, command, rest = command.resolve_command(context, [*rest])
        assert name in commands, f"a command, not an option, comes next: {words}"
    command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(("page", "line"), documented())
def test_a_documented_command_is_one(page, line, monkeypatch):
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    words = shlex.split(line, comments=True)
    if "..." in words:
        words.remove("...")
        words += ["--dataset", "dataset", "--run", "runs/first"]
    parse(words)


def test_the_pages_of_the_cluster_have_commands():
    found = {page for page, _ in documented()}
    assert {"README.md", "getting-started.md", "running-on-a-cluster.md", "kubernetes.md"} <= found


@pytest.mark.parametrize(
    "line",
    [
        "manylabel submit train mine.yaml --dataset d --ran r",
        "manylabel submit fly mine.yaml",
        "manylabel logs run --worker first",
        "manylabel stop",
    ],
)
def test_a_wrong_one_is_noticed(line):
    with pytest.raises(Exception, match=r"No such|Missing|should be"):
        parse(shlex.split(line))
