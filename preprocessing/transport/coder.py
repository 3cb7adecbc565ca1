"""The form of a table on the wire: an Arrow stream (Arrow columnar format, "IPC Streaming Format").

Every output of tables in a graph declares its type: what Beam cannot infer it pickles, which is
slow, and is held in its memory.
"""

from typing import Any

import pyarrow as pa

from manylabel.preprocessing.transport.beam import beam
from manylabel.preprocessing.transport.scratch import scratch

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_LARGEST_SIZE = 2**31 - 1
"""Bytes; Beam takes sizes as C integers."""


class TableCoder(beam.coders.Coder):
    """An Arrow stream, of a slice the slice alone; or, while a graph spills, its place in the file.

    A runner that works in this process keeps what it moves in memory: 16 bytes a table then.
    """

    def encode(self, value: pa.Table) -> bytes:
        """As `Coder.encode`."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema, options=_OPTIONS) as writer:
            writer.write_table(value)
        stream, file = sink.getvalue(), scratch()
        encoded: bytes = stream.to_pybytes() if file is None else file.put(stream)
        return encoded

    def decode(self, encoded: bytes) -> pa.Table:
        """As `Coder.decode`."""
        file = scratch()
        return pa.ipc.open_stream(encoded if file is None else file.get(encoded)).read_all()

    def estimate_size(self, value: pa.Table) -> int:
        """As `Coder.estimate_size`; Beam's own encodes a sample of the elements once more."""
        return min(int(value.nbytes), _LARGEST_SIZE)

    def is_deterministic(self) -> bool:
        """As `Coder.is_deterministic`: no table is a key."""
        return False

    def to_type_hint(self) -> Any:
        """As `Coder.to_type_hint`."""
        return pa.Table


beam.coders.registry.register_coder(pa.Table, TableCoder)
