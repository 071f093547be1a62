"""The relay from a service's outbox table to the command log: in number order, signed, at least once."""

import asyncio
from contextlib import suppress

import structlog

from schemas.signing import batch_text
from schemas.topics import COMMANDS
from schemas.venue import Source
from services.kit import store
from services.kit.keys import load_private_key, sign_hex
from services.kit.producer import start_producer
from services.kit.settings import Settings

BATCHES_PER_ROUND = 200


class Outbox:
    """Sends what `store.enqueue` put into the table. A batch sent twice after a crash is a `duplicate` to the engine:
    harmless.
    """

    def __init__(self, settings: Settings, pool: store.Pool, source: Source, poll_s: float = 0.5):
        self._settings, self._pool, self._source, self._poll_s = settings, pool, source, poll_s
        self._key = load_private_key(settings.keys_dir, source)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Says that a transaction with new batches was committed, so that they leave at once."""
        self._wake.set()

    async def run(self) -> None:
        """Relays for ever."""
        producer = await start_producer(self._settings, f"outbox-{self._source}")
        try:
            while True:
                self._wake.clear()
                if not await self._relay(producer):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), self._poll_s)
        finally:
            await producer.stop()

    async def _relay(self, producer) -> bool:
        try:
            batches = await store.unsent_batches(self._pool, BATCHES_PER_ROUND)
            for future in [await producer.send(COMMANDS.name, self.record(*batch)) for batch in batches]:
                await future
            await store.mark_sent(self._pool, [number for number, _ in batches])
        except store.DatabaseAway as error:
            structlog.get_logger().warning("outbox waits for PostgreSQL", error=str(error))
            return False
        return bool(batches)

    def record(self, number: int, commands: str) -> bytes:
        """Returns the signed record of one batch, in the canonical form of schemas.venue.Privileged."""
        signature = sign_hex(self._key, batch_text(self._source, number, commands.encode()))
        head = f'{{"type":"privileged","source":"{self._source}","number":{number},"commands":'
        return f'{head}{commands},"signature":"{signature}"}}'.encode()
