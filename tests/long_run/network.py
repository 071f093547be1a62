"""A site's way to the venue that can be cut: one small TCP relay per node, all in one thread."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from urllib.parse import urlsplit

CHUNK_BYTES = 65_536


class Network:
    """Relays of all sites; each has its own address and can be away for a while."""

    def __init__(self, address: str) -> None:
        target = urlsplit(address)
        self._host, self._port = target.hostname, target.port
        self._loop = asyncio.new_event_loop()
        self._cut: set[str] = set()
        self._open: dict[str, set[asyncio.StreamWriter]] = {}
        self._servers: list[asyncio.Server] = []
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def add_site(self, label: str) -> str:
        """Opens a site's relay; returns the address that its agent talks to."""
        return asyncio.run_coroutine_threadsafe(self._listen(label), self._loop).result()

    def cut(self, label: str) -> None:
        """Ends the site's connections and takes no new ones, until `join`."""
        self._do(lambda: self._sever(label))

    def join(self, label: str) -> None:
        """Lets the site through again."""
        self._do(lambda: self._cut.discard(label))

    def stop(self) -> None:
        """Ends all relays."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for label in self._open:
            self._sever(label)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _do(self, act: Callable[[], object]) -> None:
        done = Event()
        self._loop.call_soon_threadsafe(lambda: (act(), done.set()))
        done.wait()

    def _sever(self, label: str) -> None:
        self._cut.add(label)
        for writer in self._open[label]:
            writer.transport.abort()

    async def _listen(self, label: str) -> str:
        self._open[label] = set()
        server = await asyncio.start_server(lambda *pipe: self._relay(label, *pipe), "127.0.0.1", 0)
        self._servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _relay(self, label: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if label in self._cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._open[label] |= {writer, far_writer}
        # A relay that is ended with all others has nobody left to tell.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        self._open[label] -= {writer, far_writer}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            writer.transport.abort()
        finally:
            writer.close()
