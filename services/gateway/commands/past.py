"""Reads single commands of the log again: what an order asked for that was refused stands nowhere else."""

import asyncio
from collections import OrderedDict

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from schemas.commands import COMMAND, Command
from schemas.orders import PlaceBatch
from schemas.topics import COMMANDS
from services.gateway.commands.log import LogAway
from services.gateway.settings import GatewaySettings
from services.kit.kafka import kafka_client_options
from services.kit.ranges import read_range
from services.kit.stopping import stop_client

PARTITION = TopicPartition(COMMANDS.name, 0)
FETCH_BYTES = 65_536  # a broker sends a whole record even where that is larger


class PastCommands:
    """One reader for all who ask, one after the other; what was read lately is kept."""

    def __init__(self, settings: GatewaySettings):
        self._settings = settings
        self._turn = asyncio.Lock()
        self._consumer: AIOKafkaConsumer | None = None
        self._kept: OrderedDict[int, Command | None] = OrderedDict()

    async def close_at_the_end(self) -> None:
        """End the reader when the gateway stops."""
        try:
            await asyncio.Event().wait()
        finally:
            await self._stop()

    async def named(self, offset: int, name: str) -> Command | None:
        """Return the command at an offset, of a batch the member, that a client named so. Raises LogAway."""
        async with self._turn:
            if offset not in self._kept:
                self._kept[offset] = await self._read(offset)
                if len(self._kept) > self._settings.log_lookups_kept_max:
                    self._kept.popitem(last=False)
            found = self._kept[offset]
        commands = found.members if isinstance(found, PlaceBatch) else (found,)
        return next((command for command in commands if name_of(command) == name), None)

    async def _read(self, offset: int) -> Command | None:
        try:
            async with asyncio.timeout(self._settings.log_lookup_within_s):
                if self._consumer is None:
                    await self._start()
                self._consumer.resume(PARTITION)
                async for records, _ in read_range(self._consumer, PARTITION, offset, offset + 1, records_max=1):
                    return COMMAND.validate_json(records[0].value)
        except (KafkaError, OSError, TimeoutError) as error:
            await self._stop()
            raise LogAway(f"the log does not answer: {error!r}") from error
        except ValidationError as error:
            structlog.get_logger().error("the log holds no command there", offset=offset, error=str(error)[:200])
        finally:
            if self._consumer is not None:
                self._consumer.pause(PARTITION)  # until the next one asks, nothing is fetched
        return None

    async def _start(self) -> None:
        options = kafka_client_options(self._settings)
        self._consumer = AIOKafkaConsumer(**options, enable_auto_commit=False, max_partition_fetch_bytes=FETCH_BYTES)
        await self._consumer.start()
        self._consumer.assign([PARTITION])

    async def _stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_client(consumer)


def name_of(command: Command) -> str | None:
    """Return the name that binds a command: of a replace its own, else that of its order."""
    if command.type == "replace_order":
        return command.replace_id
    return getattr(command, "client_order_id", None)
