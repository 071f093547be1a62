"""The one writer of delivery's decisions: one transaction at a time, relays woken after each."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import structlog

from schemas.nodes import Challenge
from services.delivery.store import Store, transaction
from services.kit.outbox import Relay
from services.kit.store import AWAY, Pool


def now_ms() -> int:
    """The server's clock."""
    return time.time_ns() // 1_000_000


async def repeat(step: Callable[[int], Awaitable[object]], pause_s: float, waiting: str) -> None:
    """Does a step at this moment, again and again, for ever; sits out a database that is away, as `waiting` says."""
    while True:
        try:
            await step(now_ms())
        except AWAY as error:
            structlog.get_logger().warning(waiting, error=str(error))
        await asyncio.sleep(pause_s)


class Effects:
    """Where everything is decided that touches more than one row: consumer, event reader and scheduler take turns.

    They lock nodes, the outbox and the sequence in different orders; taking turns is cheaper than sorting that out.
    """

    def __init__(self, pool: Pool, relays: Iterable[Relay]):
        self.pool, self._relays, self._turn = pool, tuple(relays), asyncio.Lock()
        self.hand_out: Callable[[dict[str, list[Challenge]]], object] | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Store]:
        """Yields the statements inside the one transaction that may decide now.

        What it has added to `after_commit` is done before anybody else's turn, and nodes that hold a request open get
        the challenges that it has issued.
        """
        async with self._turn:
            async with transaction(self.pool) as store:
                yield store
            for act in store.after_commit:
                act()
            if store.issued and self.hand_out is not None:
                by_node: dict[str, list[Challenge]] = {}
                for node_id, challenge in store.issued:
                    by_node.setdefault(node_id, []).append(challenge)
                self.hand_out(by_node)
        for relay in self._relays:
            relay.wake()
