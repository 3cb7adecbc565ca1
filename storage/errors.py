"""What a user is meant to read, and of that the errors of files on disk."""

from manylabel.storage.full_disks import account, is_refusal


class ManylabelError(Exception):
    """Settings, data, arguments or the machine are wrong; not our mistake. Its text is what the
    command line shows: a line, or one for each problem."""


class StorageError(ManylabelError):
    """A file or directory is not what it should be; shown to the user as one line."""


class Transient(Exception):
    """Beside an error's own class: what it needed was lost or away, and the same command may do
    better another time. The command exits with 75 (EX_TEMPFAIL) instead of 2."""


class DatasetError(StorageError):
    """A dataset directory is missing, unfinished, from a newer version, or contradicts itself."""


class DamagedShardError(DatasetError):
    """A file that the manifest lists is not the one in its place, or none is there."""


class UnreachableShardError(DatasetError, Transient):
    """The storage of a shard failed or refused; that says nothing about the shard."""


class CorruptRecordError(DatasetError):
    """A TFRecord frame whose bytes do not match its checksums, or that ends too early.

    Attributes:
        path: The file, as it was given to the reader; may be empty for a bare buffer.
        offset: Byte position of the start of the record (of its 12-byte header).
        detail: What did not fit.
    """

    def __init__(self, path: str, offset: int, detail: str) -> None:
        # All three go to Exception.args, so that the error survives pickling between processes.
        super().__init__(path, offset, detail)
        self.path = path
        self.offset = offset
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.path or '<buffer>'}: corrupt record at byte {self.offset}: {self.detail}"


class TableError(StorageError):
    """A Parquet file is missing, damaged, or has other columns than expected."""


class UnreachableTableError(TableError):
    """The storage of a Parquet file failed or refused; that says nothing about the table."""


class DocumentError(StorageError):
    """A JSON document cannot be used."""


class DamagedDocumentError(DocumentError):
    """It is cut short, or its content makes no sense."""


class OtherVersionError(DocumentError):
    """An earlier or a later version of manylabel wrote it."""


def reason_of(error: BaseException) -> str:
    """What an error says, on one line; of one that says nothing, as TimeoutError(), its kind.

    What a library repeats of a damaged file reaches no terminal as it is: `\\x1b` is spelled out.
    """
    text = str(error)
    if is_refusal(error):
        text = account(error)
    elif isinstance(error, OSError) and error.strerror is None:  # Python would show "[Errno None]".
        text = " ".join(map(str, error.args))
    return printable(" ".join(text.split())) or type(error).__name__


def printable(text: str) -> str:
    """With what a terminal does not show spelled out, as Python does in `repr`."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def described(error: BaseException) -> str:
    """Its kind and what it says, on one line; of one that says nothing its kind alone."""
    kind, text = type(error).__name__, printable(" ".join(str(error).split()))
    return f"{kind}: {text}" if text else kind
