"""YAML as people write it."""

import re
from typing import Any

import yaml

from manylabel.storage.errors import StorageError
from manylabel.storage.problems import named, shown

_MERGE = "tag:yaml.org,2002:merge"
_MOST_KEYS = 10_000
_TEXT = "tag:yaml.org,2002:str"
_INTEGER = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"

_REPEATED = 100_000
"""What aliases may repeat, in values: settings have some thousands, a billion fill the memory."""

_BITS = 1000
"""Of whole numbers: those of 1,024 bits are too large for a float, and raise errors in pydantic."""

_OTHER_BASE = re.compile(r"[-+]?0[0-9_]+|.*:.*")
"""010 is 8 to YAML 1.1 and 10 to YAML 1.2, and 1:30 is 90, counted by sixties, or a text."""


class YamlError(StorageError):
    """A text is not YAML, or not such as settings may be; on one line, without the file's name."""


def parse_yaml(text: str) -> Any:
    """What a YAML text says. Merge keys (`<<: *other`) are merged: a mapping's own keys win.

    Raises:
        YamlError: it is not YAML; a key is repeated, of which YAML silently keeps the last, or is
            no text; a value is none of its kind (2026-13-45), a number that is another one to
            other versions of YAML (010) or is counted by sixties (1:30), or no Unicode text; it
            nests too deeply, holds itself, or its aliases repeat too much.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        if problem.startswith("but found"):  # "expected a single document in the stream"
            problem = f"{getattr(error, 'context', '')}, {problem}"
        raise YamlError(f"not valid YAML{place}: {problem}") from error
    except RecursionError as error:
        problem = "lists or mappings nest too deeply; write fewer levels"
        raise YamlError(f"not valid YAML: {problem}") from error


class _Loader(yaml.SafeLoader):
    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: set[yaml.MappingNode] = set()

    def get_single_node(self) -> yaml.Node | None:
        try:
            node: yaml.Node | None = super().get_single_node()
        except (ValueError, OverflowError) as error:  # PyYAML's scanner calls chr and int itself.
            raise YamlError(
                f"not valid YAML in line {self.line + 1}, column {self.column + 1}: an escape "
                "beyond \\U0010ffff, the last character, or a version of thousands of digits"
            ) from error
        if node is not None:
            _Sizes().size(node)
        return node

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
            raise YamlError(
                f"line {_line(node)}: {value!a} is half a character; write it whole"
            ) from error
        if node.tag in (_INTEGER, _FLOAT) and _OTHER_BASE.fullmatch(value):
            raise YamlError(
                f"line {_line(node)}: {shown(value)} is not the same number to all versions "
                "of YAML; write it without colons and without a 0 in front, or in quotes for "
                "a text"
            )
        return value

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, int) and value.bit_length() > _BITS:
                raise ValueError("it has hundreds of digits")
            return value
        except (ValueError, LookupError, AttributeError, OverflowError) as error:
            # A date that there is not, a number of thousands of digits, `!!bool maybe`, `!!int ""`.
            kind = node.tag.rpartition(":")[2]
            reason = f": {error}" if type(error) is ValueError else ""
            raise YamlError(
                f"line {_line(node)}: expected a value of the kind {kind}{reason}; put it in "
                "quotes if it is text"
            ) from error

    def _check_keys(self, node: yaml.MappingNode) -> None:
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(
                    f"line {line}: expected a name as a key, received a list or a mapping; put it "
                    "in quotes if it is a name"
                )
            key = self.construct_scalar(key_node)
            if key_node.tag not in (_TEXT, _MERGE):
                kind = key_node.tag.rpartition(":")[2]
                raise YamlError(
                    f"line {line}: expected a name as a key, received {key or 'nothing'}, which is "
                    f"of the kind {kind} to YAML; put it in quotes if it is a name"
                )
            if key in lines and key_node.tag == _MERGE:
                raise YamlError(
                    f"line {line}: << is set twice, first in line {lines[key]}; merge several "
                    "mappings with <<: [*one, *other]"
                )
            if key in lines:
                raise YamlError(
                    f"line {line}: {named(key)} is set twice, first in line {lines[key]}"
                )
            lines[key] = line


class _Sizes:
    """Of nodes, how many values they are once each alias is replaced by what it stands for."""

    def __init__(self) -> None:
        self._sizes: dict[yaml.Node, int | None] = {}  # None: it is being counted
        self._written = 0

    def size(self, node: yaml.Node) -> int:
        if node not in self._sizes:
            self._sizes[node] = None
            self._written += 1
            self._sizes[node] = 1 + sum(map(self.size, _inside(node)))
        size = self._sizes[node]
        if size is None:
            raise YamlError(
                f"line {_line(node)}: a list or mapping holds itself, by an alias (*name) within "
                "it; write what it is to hold"
            )
        if size > self._written + _REPEATED:
            raise YamlError(
                f"line {_line(node)}: aliases (*name) repeat more than {_REPEATED:,} values; "
                "write fewer of them"
            )
        return size


def _inside(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
