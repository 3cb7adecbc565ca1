"""Arrays of a JSON object that is larger than memory, one item at a time."""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from manylabel.preprocessing.errors import PreprocessingError

MAX_ITEM_CHARACTERS = 64 << 20
"""Past it, what should be one item is a file of another kind. A large mask has a million."""

_LINES = "several of them are read one a line, as .jsonl: jq -c '.[]' makes that of a list"

_BLANKS = " \t\r\n"


def read_arrays(file: BinaryIO, path: str, block: int = 1 << 20) -> Iterator[tuple[str, int, Any]]:
    """Triples (name of an array, number of the item from 0, item) of the file's one object, in the
    file's order; what is not in an array is left out.

    Args:
        file: UTF-8; memory holds one item of it, and a block.
        path: For errors.
        block: Bytes that are read at a time.

    Raises:
        PreprocessingError: not UTF-8, not JSON, not an object, or cut short; says after how many
            characters.
    """
    text = _Text(file, path, block)
    text.expect("{", f"a JSON object ({_LINES})")
    if text.take("}"):
        return
    while True:
        name = text.value("the name of a section")
        if not isinstance(name, str):
            raise text.error(f"expected a name in double quotes, received {name!r}")
        text.expect(":", f"a colon after {name!r}")
        if text.take("["):
            yield from ((name, number, item) for number, item in enumerate(_items(text, name)))
        else:
            text.value(name)
        if not text.take(","):
            break
    text.expect("}", "a comma or the end of the object")
    text.expect_end()


def _items(text: "_Text", name: str) -> Iterator[Any]:
    if text.take("]"):
        return
    number = 0
    while True:
        yield text.value(f"{name}[{number}]")
        number += 1
        if not text.take(","):
            break
    text.expect("]", f"a comma or the end of {name} after item {number - 1}")


class _Text:
    """A file's text, of which only what is not yet read is held."""

    def __init__(self, file: BinaryIO, path: str, block: int) -> None:
        self._file = file
        self._path = path
        self._block = block
        self._characters = codecs.getincrementaldecoder("utf-8-sig")()
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._at = 0  # In the text.
        self._dropped = 0  # Characters before the text.

    def value(self, what: str) -> Any:
        """The next value, whatever it is; errors call it `what`."""
        self._skip_blanks()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                where = self._dropped + error.pos
                if self._read_more(what):  # It may end in what is still to be read.
                    continue
                raise self._error(f"{what}: expected JSON: {error.msg}", where) from error
            except (RecursionError, ValueError) as error:  # The latter, of a number, is Python's.
                raise self.error(
                    f"{what}: expected values in a few levels and numbers of a few digits, "
                    "not thousands"
                ) from error
            if end == len(self._text) and self._read_more(what):
                continue  # A number may go on.
            self._at = end
            return value

    def take(self, mark: str) -> bool:
        """Whether the mark comes next; then it is read."""
        self._skip_blanks()
        found = self._text.startswith(mark, self._at)
        self._at += found
        return found

    def expect(self, mark: str, what: str) -> None:
        if not self.take(mark):
            received = repr(self._text[self._at : self._at + 20]) if self._rest() else "the end"
            raise self.error(f"expected {what}, received {received}")

    def expect_end(self) -> None:
        self._skip_blanks()
        if self._rest():
            received = self._text[self._at : self._at + 20]
            raise self.error(
                f"expected one JSON object ({_LINES}), received more after it: {received!r}"
            )

    def error(self, message: str) -> PreprocessingError:
        return self._error(message, self._dropped + self._at)

    def _error(self, message: str, where: int) -> PreprocessingError:
        place = f"after {where:,} characters: " if where else ""
        return PreprocessingError(f"{self._path}: {place}{message}")

    def _rest(self) -> int:
        return len(self._text) - self._at

    def _skip_blanks(self) -> None:
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANKS:
                self._at += 1
            if self._rest() or not self._read_more("blanks"):
                return

    def _read_more(self, what: str) -> bool:
        """False at the end of the file. Doubles what is held, so that long items take few tries."""
        if self._rest() > MAX_ITEM_CHARACTERS:
            raise self.error(f"{what}: expected less than {MAX_ITEM_CHARACTERS:,} characters")
        data = self._file.read(max(self._block, self._rest()))
        try:
            more = self._characters.decode(data, final=not data)
        except UnicodeDecodeError as error:
            received = f"expected UTF-8, received byte 0x{error.object[error.start]:02x}"
            raise self._error(received, self._dropped + len(self._text)) from error
        self._dropped += self._at
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(data)
