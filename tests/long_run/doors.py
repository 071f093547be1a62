"""SSH servers of the long run's sites, which let nobody further than the key exchange: doors that can be shut."""

import asyncio
from threading import Thread

import asyncssh

HOST = "127.0.0.1"


class Doors:
    """One server for each site that has a door, all in one thread; a door keeps its port and its host key."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._keys: dict[str, asyncssh.SSHKey] = {}
        self._ports: dict[str, int] = {}
        self._servers: dict[str, asyncssh.SSHAcceptor] = {}
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def open(self, label: str) -> tuple[str, str]:
        """Opens a site's door; returns its endpoint and its host key, as a hook's answer names them."""
        self._do(self._open(label))
        key = " ".join(self._keys[label].export_public_key().decode().split()[:2])
        return f"ssh://buyer@{HOST}:{self._ports[label]}", key

    def shut(self, label: str) -> None:
        """Takes no more connections at a site's door."""
        self._do(self._shut(label))

    def stop(self) -> None:
        """Shuts all doors for good."""
        for label in list(self._servers):
            self.shut(label)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, deed) -> None:
        asyncio.run_coroutine_threadsafe(deed, self._loop).result()

    async def _open(self, label: str) -> None:
        if label in self._servers:
            return
        key = self._keys.setdefault(label, asyncssh.generate_private_key("ssh-ed25519"))
        server = await asyncssh.listen(HOST, self._ports.get(label, 0), server_host_keys=[key], reuse_address=True)
        self._servers[label], self._ports[label] = server, server.get_port()

    async def _shut(self, label: str) -> None:
        if server := self._servers.pop(label, None):
            server.close()
