"""YAML as people write it."""

from collections.abc import Hashable
from typing import Any

import yaml

from manylabel.storage.errors import StorageError

_MERGE = "tag:yaml.org,2002:merge"
_MOST_KEYS = 10_000


class YamlError(StorageError):
    """A text is not YAML, or not such as settings may be; on one line, without the file's name."""


def parse_yaml(text: str) -> Any:
    """What a YAML text says. Merge keys (`<<: *other`) are merged.

    Raises:
        YamlError: it is not YAML; a key is repeated, of which YAML silently keeps the last; a key
            is a list or mapping; a value is none of its kind (2026-13-45), or no Unicode text; or
            it nests too deeply.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        raise YamlError(f"not valid YAML{place}: {problem}") from error
    except RecursionError as error:
        problem = "lists or mappings nest too deeply; write fewer levels"
        raise YamlError(f"not valid YAML: {problem}") from error


class _Loader(yaml.SafeLoader):
    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: set[yaml.MappingNode] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # What is merged stands beside the mapping's own keys afterwards, and may be repeated there;
        # a mapping that others merge may be flattened before it is constructed itself.
        if node not in self._checked:
            self._checked.add(node)
            self._check_keys(node)
        super().flatten_mapping(node)
        if len(node.value) > _MOST_KEYS:  # Merges of merges: some lines of them have billions.
            raise YamlError(
                f"line {node.start_mark.line + 1}: expected at most {_MOST_KEYS:,} keys with those "
                "that are merged, received more; write out those that are meant"
            )

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        try:
            value.encode()
        except UnicodeEncodeError as error:  # "\ud800": no file and no page can be written with it.
            line = node.start_mark.line + 1
            raise YamlError(
                f"line {line}: {value!a} is half a character; write it whole"
            ) from error
        return value

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # A date that there is not, a number of thousands of digits.
            line = node.start_mark.line + 1
            kind = node.tag.rpartition(":")[2]
            raise YamlError(
                f"line {line}: expected a value of the kind {kind}: {error}; put it in quotes if "
                "it is text"
            ) from error

    def _check_keys(self, node: yaml.MappingNode) -> None:
        lines: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(
                    f"line {line}: expected a name as a key, received a list or a mapping; put it "
                    "in quotes if it is a name"
                )
            key = self.construct_object(key_node, deep=True)
            if key in lines:
                raise YamlError(f"line {line}: {key} is set twice, first in line {lines[key]}")
            lines[key] = line
