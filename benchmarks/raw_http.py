"""The least HTTP client: sends prepared requests over one kept connection and times each answer."""

import asyncio
import time


class Connection:
    """One keep-alive connection; `exchange` sends a request, `body` then holds the answer's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader, self._writer = reader, writer
        self.body = b""

    @classmethod
    async def open(cls, host: str, port: int) -> "Connection":
        """Connects."""
        return cls(*await asyncio.open_connection(host, port))

    async def exchange(self, request: bytes) -> tuple[int, int]:
        """Sends the bytes of one request and reads its answer whole; returns the status and the nanoseconds taken."""
        began_ns = time.perf_counter_ns()
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        start = lowered.index(b"content-length:") + 15
        self.body = await self._reader.readexactly(int(lowered[start : lowered.index(b"\r\n", start)]))
        return int(head[9:12]), time.perf_counter_ns() - began_ns

    def close(self) -> None:
        """Ends the connection."""
        self._writer.close()


def post(host: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """Returns the bytes of a POST request."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
