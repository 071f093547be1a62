"""Appends traders' commands to the command log, and replaces a producer that can go on no longer."""

import asyncio
from collections.abc import Callable

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.topics import COMMANDS
from services.gateway.domain import GatewayError
from services.gateway.settings import GatewaySettings
from services.kit.producer import start_producer
from services.kit.stopping import stop_client


class LogAway(GatewayError):
    """Kafka does not answer; the command was not sent."""


class CommandLog:
    """One idempotent producer, acknowledged by all.

    A command that finds none undecided is sent at once. While some are, the next ones gather until the first of those
    is decided, or for `gather_s`: they go in one request then, and every process behind has one wake-up for them all.
    """

    def __init__(self, settings: GatewaySettings):
        self._settings = settings
        self._undecided = 0
        self._gathered: list[asyncio.Future[None]] = []
        self._producer: AIOKafkaProducer | None = None
        self._broken = asyncio.Event()

    async def run(self, started: asyncio.Event) -> None:
        """Keep a working producer for ever; set `started` with the first."""
        while True:
            self._broken.clear()
            producer = self._producer = await start_producer(self._settings, "gateway")
            started.set()
            try:
                await self._broken.wait()
            finally:
                self._producer = None
                await stop_client(producer)

    async def append(self, record: bytes, sent: Callable[[int], None], lost: Callable[[Exception], None]) -> None:
        """Send a record; later call `sent` with its offset, or `lost` if nobody knows. Raises LogAway if not sent."""
        if self._undecided:
            await self._next_turn()
        if self._producer is None:
            raise LogAway("no producer")
        try:
            future = await self._producer.send(COMMANDS.name, record, partition=0)
        except KafkaError as error:
            self._broken.set()
            raise LogAway(str(error)) from error
        self._undecided += 1
        future.add_done_callback(lambda done: self._acknowledged(done, sent, lost))

    def settled(self) -> None:
        """One of the commands sent is decided, or waited for no more: what has gathered meanwhile goes."""
        self._undecided -= 1
        self._send_gathered(self._gathered)

    def _next_turn(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if not self._gathered:
            loop.call_later(self._settings.gather_s, self._send_gathered, self._gathered)
        turn = loop.create_future()
        self._gathered.append(turn)
        return turn

    def _send_gathered(self, gathered: list[asyncio.Future[None]]) -> None:
        if gathered is self._gathered:
            self._gathered = []
        for turn in gathered:
            if not turn.done():  # its request may have been given up
                turn.set_result(None)

    def _acknowledged(self, done: asyncio.Future, sent: Callable, lost: Callable) -> None:
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is None:
            return sent(done.result().offset)
        # An idempotent producer that has lost a record's number cannot go on without a hole in the sequence.
        structlog.get_logger().warning("a command's fate is unknown, replacing the producer", error=repr(error))
        self._broken.set()
        lost(error)
