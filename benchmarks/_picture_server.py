"""Serves the pictures below a folder on the loopback interface, from memory.

    python benchmarks/_picture_server.py FOLDER

Prints its port. HTTP/1.1 with connections that are kept, as much as both sides of a comparison want
and with as little work as it can: it shares the machine with them. Ends with its parent's input.
"""

import asyncio
import sys
from pathlib import Path
from urllib.parse import unquote


class _Answers(asyncio.Protocol):
    def __init__(self, files: dict[bytes, bytes]) -> None:
        self._files = files
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            request, _, self._received = self._received.partition(b"\r\n\r\n")
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        assert self._transport is not None
        path = unquote(request.split(b" ", 2)[1].decode()).encode()
        data = self._files.get(path, b"")
        status = b"200 OK" if data else b"404 Not Found"
        closes = b"connection: close" in request.lower()
        header = b"HTTP/1.1 %s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n%s\r\n" % (
            status,
            len(data),
            b"Connection: close\r\n" if closes else b"",
        )
        self._transport.writelines([header, data])
        if closes:
            self._transport.close()


async def serve(folder: Path) -> None:
    """Until the standard input ends."""
    files = {
        f"/{path.relative_to(folder)}".encode(): path.read_bytes() for path in folder.rglob("*.jpg")
    }
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Answers(files), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
