"""Says whether Kafka and PostgreSQL answer now: asked only when somebody asks `/readyz`, and at most once a second."""

import asyncio
import shutil
import ssl
import struct
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from services.kit.settings import Settings

KAFKA, POSTGRESQL, DISK = "Kafka", "PostgreSQL", "space on the disk"
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)  # a request that every broker answers at once, without a login
PROTOCOL_3 = 196_608
ASKED_FOR_PASSWORD = b"R"  # the first byte of an answer to a login; a server that starts or stops answers E
POSTGRESQL_PORT = 5_432


class Servers:
    """The servers that a service stands on, and the disk of its data folder.

    `named_only`: the service can do without; it asks only for servers that its settings name.
    """

    def __init__(self, settings: Settings, named_only: bool = False) -> None:
        self._settings = settings
        fields = {KAFKA: "kafka", POSTGRESQL: "database_url"}
        self._asked = [name for name, field in fields.items() if not named_only or field in settings.model_fields_set]
        self._away: list[str] = []
        self._looked_at_s = float("-inf")
        self._looking = asyncio.Lock()

    async def away(self) -> list[str]:
        """Returns the names of what does not answer, or is full."""
        async with self._looking:
            if time.monotonic() - self._looked_at_s > self._settings.servers_known_for_s:
                self._away = await self._look()
                self._looked_at_s = time.monotonic()
            return list(self._away)

    async def _look(self) -> list[str]:
        settings = self._settings
        answers = await asyncio.gather(*map(self._answers, self._asked))
        away = [name for name, is_there in zip(self._asked, answers, strict=True) if not is_there]
        return away if has_space(settings.data, settings.disk_free_bytes_min) else [*away, DISK]

    async def _answers(self, name: str) -> bool:
        settings = self._settings
        check = (
            kafka_answers(settings.kafka, settings.kafka_ca)
            if name == KAFKA
            else postgresql_answers(settings.database_url)
        )
        try:
            return await asyncio.wait_for(check, settings.servers_answer_within_s)
        except TimeoutError:
            return False


async def kafka_answers(addresses: str, ca: Path | None = None) -> bool:
    """Says whether one of these brokers (`host:port,…`) answers a request, and does not merely listen; with a `ca`
    over TLS.
    """
    context = ssl.create_default_context(cafile=ca) if ca else None
    for address in addresses.split(","):
        host, _, port = address.strip().rpartition(":")
        answer = await _ask(host, int(port), API_VERSIONS, 4, context)
        if len(answer) == 4:
            return True
    return False


async def postgresql_answers(url: str) -> bool:
    """Says whether the server of this URL takes logins; none is made.

    A URL that names no one TCP address is beyond this check, and counts as answered.
    """
    parts = urlsplit(url)
    if parts.hostname is None or "," in parts.netloc:
        return True
    user, database = unquote(parts.username or ""), parts.path.lstrip("/")
    fields = f"user\0{user}\0database\0{database or user}\0\0".encode()
    message = struct.pack(">ii", len(fields) + 8, PROTOCOL_3) + fields
    return await _ask(parts.hostname, parts.port or POSTGRESQL_PORT, message, 1) == ASKED_FOR_PASSWORD


def has_space(folder: Path, bytes_min: int) -> bool:
    """Says whether the disk of a folder has so many bytes left; a folder that is not there is on no disk."""
    try:
        return shutil.disk_usage(folder).free >= bytes_min
    except OSError:
        return True


async def _ask(host: str | None, port: int, message: bytes, count: int, context: ssl.SSLContext | None = None) -> bytes:
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except OSError:
        return b""
    try:
        writer.write(message)
        return await reader.readexactly(count)
    except (OSError, asyncio.IncompleteReadError):
        return b""
    finally:
        writer.close()
