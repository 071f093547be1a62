"""Relays from a service's tables to Kafka, in order, at least once: signed commands, and records of its own topics."""

import asyncio
import time

import structlog
from aiokafka import AIOKafkaProducer

from schemas.signing import batch_text
from schemas.topics import COMMANDS
from schemas.venue import Source
from services.kit import store
from services.kit.keys import load_private_key, public_hex, sign_hex
from services.kit.process import set_within
from services.kit.producer import start_producer
from services.kit.recovery import Logged, log_end, read_log
from services.kit.settings import Settings
from services.kit.stopping import stop_client

ROWS_PER_ROUND = 200
MARK_EVERY_S = 600


class Relay:
    """Sends rows as they are committed; woken by `wake`, else it looks every `poll_s`. A row sent twice is harmless."""

    def __init__(self, settings: Settings, pool: store.Pool, name: str, poll_s: float = 0.5):
        self._settings, self._pool, self._name, self._poll_s = settings, pool, name, poll_s
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Says that a transaction with new rows was committed, so that they leave at once."""
        self._wake.set()

    async def run(self) -> None:
        """Relays for ever."""
        producer = await start_producer(self._settings, f"relay-{self._name}")
        try:
            while True:
                self._wake.clear()
                if not await self._round(producer):
                    await set_within(self._wake, self._poll_s)
        finally:
            await stop_client(producer)

    async def _round(self, producer: AIOKafkaProducer) -> bool:
        try:
            return await self._send_some(producer)
        except store.DatabaseAway as error:
            structlog.get_logger().warning("relay waits for PostgreSQL", relay=self._name, error=str(error))
            return False

    async def _send_some(self, producer: AIOKafkaProducer) -> bool:
        """Sends the oldest rows and notes them as sent; returns whether there were any."""
        raise NotImplementedError


class Outbox(Relay):
    """Sends what `store.enqueue` put into the outbox; one sent twice after a crash is a `duplicate`.

    `recover` comes before anything is enqueued: the log, not the table, says which numbers are taken. `numbered` is a
    table of the service's own whose column `number` names batches.
    """

    def __init__(
        self, settings: Settings, pool: store.Pool, source: Source, poll_s: float = 0.5, numbered: str | None = None
    ):
        super().__init__(settings, pool, f"outbox-{source}", poll_s)
        self._source, self._key = source, load_private_key(settings.keys_dir, source)
        self._numbered, self._marked_at_s = numbered, time.monotonic()

    async def recover(self) -> None:
        """Brings the outbox in line with the command log, waiting for Kafka and PostgreSQL as long as they are away."""
        log = structlog.get_logger()
        while True:
            try:
                known_until = await store.log_known_until(self._pool)
                logged = await self._read_log(known_until)
                if known_until > logged.commands_end:  # the log lost its end, or is another one
                    logged = await self._read_log(0)
                moved = await store.reconcile(self._pool, logged, self._numbered)
            except store.DatabaseAway as error:
                log.warning("outbox waits for PostgreSQL", error=str(error))
                await asyncio.sleep(self._settings.reconnect_delay_s)
                continue
            if moved:
                log.warning("batches were renumbered after the log's", source=self._source, moved=moved)
            return

    async def _read_log(self, first_offset: int) -> Logged:
        return await read_log(self._settings, self._source, public_hex(self._key), first_offset)

    async def _send_some(self, producer: AIOKafkaProducer) -> bool:
        batches = await store.unsent_batches(self._pool, ROWS_PER_ROUND)
        sent = [await producer.send(COMMANDS.name, self.record(*batch)) for batch in batches]
        ends = [(await future).offset + 1 for future in sent]
        if ends:
            await store.mark_sent(self._pool, [number for number, _ in batches], ends[-1])
        elif time.monotonic() - self._marked_at_s > MARK_EVERY_S:
            # Nothing is under way, so whatever the log has of this source, the outbox has.
            await store.set_mark(self._pool, await log_end(self._settings))
        else:
            return False
        self._marked_at_s = time.monotonic()
        return bool(batches)

    def record(self, number: int, commands: str) -> bytes:
        """Returns the signed record of one batch, in the canonical form of schemas.venue.Privileged."""
        signature = sign_hex(self._key, batch_text(self._source, number, commands.encode()))
        head = f'{{"type":"privileged","source":"{self._source}","number":{number},"commands":'
        return f'{head}{commands},"signature":"{signature}"}}'.encode()


class Publisher(Relay):
    """Sends what `store.publish` put beside a change; readers drop what they have by the sequence in the record."""

    def __init__(self, settings: Settings, pool: store.Pool, service: str, poll_s: float = 0.5):
        super().__init__(settings, pool, f"publisher-{service}", poll_s)

    async def _send_some(self, producer: AIOKafkaProducer) -> bool:
        rows = await store.unpublished(self._pool, ROWS_PER_ROUND)
        for future in [await producer.send(topic, value, key) for _, topic, key, value in rows]:
            await future
        await store.forget_published(self._pool, [row_id for row_id, *_ in rows])
        return bool(rows)


class PromptPublisher(Publisher):
    """A publisher that can be waited for, so that whoever asked is answered only when the broker has the record."""

    def __init__(self, settings: Settings, pool: store.Pool, service: str):
        super().__init__(settings, pool, service)
        self._waiting: list[asyncio.Future] = []

    async def published(self) -> None:
        """Returns when everything that was committed before this call is acknowledged by the broker."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self.wake()
        await future

    async def _send_some(self, producer: AIOKafkaProducer) -> bool:
        waiting, self._waiting = self._waiting, []
        try:
            more = True
            while more:
                more = await super()._send_some(producer)
        except BaseException:
            self._waiting = [*waiting, *self._waiting]
            raise
        for future in waiting:
            if not future.done():
                future.set_result(None)
        return False
