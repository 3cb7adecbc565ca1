"""YAML as people write it."""

from typing import Any

import yaml

from manylabel.storage.errors import StorageError


class YamlError(StorageError):
    """A text is not YAML, or sets a key twice; on one line, without the file's name."""


def parse_yaml(text: str) -> Any:
    """What a YAML text says.

    Raises:
        YamlError: it is not YAML, or a key is repeated, of which YAML silently keeps the last.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise YamlError(f"not valid YAML{place}: {problem}") from error


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if key in lines:
                raise YamlError(f"line {line}: {key} is set twice, first in line {lines[key]}")
            lines[key] = line
        return super().construct_mapping(node, deep)
