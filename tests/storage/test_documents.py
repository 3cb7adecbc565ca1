"""JSON documents: whole, of this version, or refused in one line."""

from typing import ClassVar, Literal

import pytest

from manylabel.storage.documents import Document
from manylabel.storage.errors import DamagedDocumentError, OtherVersionError


class Note(Document):
    NOUN: ClassVar[str] = "a note"
    REMEDY: ClassVar[str] = "write it again"

    format_version: Literal[3] = 3
    text: str


def test_a_document_comes_back_and_says_its_version(tmp_path):
    path = tmp_path / "note.json"
    Note(text="né").write(path)
    assert Note.read(path) == Note(text="né")
    assert path.read_text(encoding="utf-8") == '{\n  "format_version": 3,\n  "text": "né"\n}\n'


@pytest.mark.parametrize(
    ("text", "received"),
    [('{"format_version": 2, "words": []}', "version 2"), ('{"text": "old"}', "none")],
)
def test_another_version_is_refused_whatever_its_keys(tmp_path, text, received):
    path = tmp_path / "note.json"
    path.write_text(text)
    message = rf"note\.json: expected a note of format version 3, received {received}; write it"
    with pytest.raises(OtherVersionError, match=message):
        Note.read(path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "the file"),
        ('{"format_version": 3, "te', "the file"),
        ("[3]", "the file"),
        ('{"format_version": 3}', "text"),
        ('{"format_version": "three"}', "format_version"),
        ('{"format_version": 3, "text": "a", "txet": "b"}', "txet"),
        ("\xff", "the file"),
    ],
)
def test_a_damaged_document_is_named_in_one_line(tmp_path, text, place):
    path = tmp_path / "note.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DamagedDocumentError, match=rf"note\.json: not a note \({place}") as caught:
        Note.read(path)
    assert "\n" not in str(caught.value)


def test_a_document_that_is_not_there_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        Note.read(tmp_path / "note.json")
