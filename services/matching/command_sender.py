"""What the matching process itself appends to the command log: its epoch at the start, ticks afterwards."""

import asyncio
from collections.abc import Callable

import structlog
from aiokafka.errors import KafkaError

from schemas.signing import batch_text
from schemas.venue import Epoch, Privileged, Tick
from services.kit.keys import load_private_key, sign_hex
from services.kit.producer import start_producer
from services.kit.stopping import stop_client
from services.matching.settings import MatchingSettings

SOURCE = "matching"
TICK = Tick().canonical()


class CommandSender:
    """Appends records to the command log, one at a time."""

    def __init__(self, settings: MatchingSettings, topic: str):
        self._settings, self._topic = settings, topic
        self._producer = None
        self.last_tick_offset = -1

    async def open(self) -> None:
        """Start the producer."""
        self._producer = await start_producer(self._settings, "matching-commands")

    async def close(self) -> None:
        """Stop the producer."""
        if self._producer is not None:
            await stop_client(self._producer)

    async def send_epoch(self, epoch: int) -> int:
        """Append a signed epoch and return its offset. The source sends nothing else: its numbers are the epochs."""
        return await self._append(epoch_record(self._settings, epoch))

    async def tick_for_ever(self, next_offset: Callable[[], int]) -> None:
        """Append a tick every interval, unless the engine has yet to read the last one: it is not to be swamped."""
        while True:
            await asyncio.sleep(self._settings.tick_interval_ms / 1000)
            if next_offset() <= self.last_tick_offset:
                continue
            try:
                self.last_tick_offset = await self._append(TICK)
            except (KafkaError, OSError) as error:
                # A tick lost or doubled changes nothing: the next one lets the same time pass.
                structlog.get_logger().warning("tick not acknowledged", error=repr(error))
                await self.close()
                await self.open()

    async def _append(self, record: bytes) -> int:
        metadata = await self._producer.send_and_wait(self._topic, record, partition=0)
        return metadata.offset


def epoch_record(settings: MatchingSettings, epoch: int) -> bytes:
    """Return the signed record with which this process takes over."""
    command = Epoch(epoch=epoch)
    text = batch_text(SOURCE, epoch, b"[" + command.canonical() + b"]")
    signature = sign_hex(load_private_key(settings.keys_dir, SOURCE), text)
    return Privileged(source=SOURCE, number=epoch, commands=(command,), signature=signature).canonical()
