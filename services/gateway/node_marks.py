"""Which nodes are simulated, as `delivery.events` says: every answer that names a node says it too."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from schemas.delivery import DELIVERY_EVENT, VENUE, DeliveryEvent
from schemas.topics import DELIVERY_EVENTS
from services.gateway.settings import GatewaySettings
from services.gateway.store import Store
from services.kit.groups import take_again
from services.kit.store import DatabaseAway, Pool
from services.kit.topics import make_broker, run_broker, subscribe_batches

GROUP = "gateway"


class NodeMarks:
    """Follows delivery's events into `marks`, node → simulated, and into the table that they are restored from."""

    def __init__(self, settings: GatewaySettings, store: Store, marks: dict[str, bool]):
        self._settings, self._store, self._marks = settings, store, marks

    async def run(self, pool: Pool, is_restored: asyncio.Event) -> None:
        """Follow for ever; set `is_restored` when nothing is missing that was read before."""
        self._marks.update(await self._store.node_marks())
        await take_again(self._settings, pool, DELIVERY_EVENTS, GROUP, DELIVERY_EVENT, self.handle)
        is_restored.set()
        broker = make_broker(self._settings)
        subscribe_batches(broker, DELIVERY_EVENTS, GROUP, DELIVERY_EVENT, self.handle, with_ends=True)
        await run_broker(broker)

    async def handle(self, events: Sequence[DeliveryEvent], ends: Mapping[int, int]) -> None:
        """Handle a batch. An event from before there was a mark says nothing against one that has it."""
        said: dict[str, bool] = {}
        for event in events:
            if event.node != VENUE:
                said[event.node] = event.simulated or said.get(event.node, False)
        changed = {node: mark for node, mark in said.items() if node not in self._marks or mark > self._marks[node]}
        try:
            await self._store.mark_nodes(changed, ends)
        except DatabaseAway as error:
            structlog.get_logger().warning("delivery's events wait for PostgreSQL", error=str(error))
            await asyncio.sleep(self._settings.reconnect_delay_s)
            raise  # the batch comes again
        self._marks.update(changed)
