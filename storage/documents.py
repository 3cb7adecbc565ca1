"""JSON documents that say of which format version they are.

A document is a frozen pydantic model with a field `format_version: Literal[N] = N`. N is raised
whenever what the document describes changes on disk; another version is refused, never guessed at.
"""

import hashlib
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from upath import UPath

from manylabel.storage.atomic import replacing
from manylabel.storage.errors import DamagedDocumentError, OtherVersionError
from manylabel.storage.locations import Location
from manylabel.storage.stand_ins import HEAD_BYTES, stand_in

Count = Annotated[int, Field(ge=0, lt=1 << 63)]
"""Things, bytes or places: never negative, and as many as arrays can have."""


class Document(BaseModel):
    """A JSON file.

    Attributes:
        NOUN: what errors call it, with its article.
        REMEDY: what errors tell the user to do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    NOUN: ClassVar[str]
    REMEDY: ClassVar[str]

    @classmethod
    def version(cls) -> int:
        """The format version that this code reads and writes."""
        version: int = cls.model_fields["format_version"].default
        return version

    @classmethod
    def read(cls, path: Location) -> Self:
        """Reads a document.

        Raises:
            FileNotFoundError: there is none.
            OtherVersionError: it is of another format version.
            DamagedDocumentError: it is anything else.
        """
        return cls.parse(UPath(path).read_bytes(), path)

    @classmethod
    def parse(cls, text: bytes, path: Location) -> Self:
        """Reads a document from its bytes, as `read`; `path` is for the errors."""
        expected = cls.version()
        try:
            # Asked first: another version may have other keys.
            received = _Version.model_validate_json(text).format_version
            if received != expected:
                raise OtherVersionError(
                    f"{path}: expected {cls.NOUN} of format version {expected}, received "
                    f"{'none' if received is None else f'version {received}'}; {cls.REMEDY}"
                )
            return cls.model_validate_json(text)
        except ValidationError as error:
            if text and (found := stand_in(text[:HEAD_BYTES])) is not None:
                raise DamagedDocumentError(
                    f"{path}: expected {cls.NOUN}, received {found}"
                ) from error
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise DamagedDocumentError(
                f"{path}: not {cls.NOUN} ({place}: {first['msg']}); {cls.REMEDY}"
            ) from error

    def write(self, path: Location) -> None:
        """Replaces the file at once."""
        with replacing(path) as file:
            file.write(self.to_bytes())

    def to_bytes(self) -> bytes:
        """What `write` writes: indented JSON, equal for equal documents."""
        return self.model_dump_json(indent=2).encode() + b"\n"


class _Version(BaseModel):
    """What documents of every version have."""

    format_version: int | None = None


def sha256_of(data: bytes) -> str:
    """Hexadecimal."""
    return hashlib.sha256(data).hexdigest()
