"""The market of the zoo: sells hours of programs as their operators would, and counts what the engine's money says.

What an operator earned is the sum of all movements of his money in the engine's events but what was paid in, held or
not; his bond is what his trades held of it. What everyone is told of nodes is read from delivery's events.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.delivery import MeterOutcome
from schemas.topics import DELIVERY_EVENTS, EVENTS
from schemas.venue import Credit
from services.delivery.packing import unpack
from tests.integration.delivery.conftest import PRICE_MICROS, RICH_MICROS, TIMES, Venue

ORDERS_S = 2
WAIT_S = 60
LAST_OUTCOMES = """
select distinct on (position_id) outcome from delivery.settlement where position_id = any($1)
order by position_id, revision desc
"""


class Market:
    """What the engine decided so far, by account; `refused` are the codes of offers that it did not take."""

    def __init__(self, venue: Venue, gate_lead_s: int = TIMES["gate_lead_s"]) -> None:
        self._venue, self.gate_lead_s = venue, gate_lead_s
        self.hour_micros = PRICE_MICROS * venue.period_s // 3_600
        self._turn = asyncio.Lock()
        self._news = asyncio.Condition()
        self.earned: Counter[str] = Counter()
        self.bonds: Counter[str] = Counter()
        self.positions: defaultdict[str, list[int]] = defaultdict(list)
        self.refused: defaultdict[str, list[str]] = defaultdict(list)
        self.alive: set[str] = set()
        self.settled: Counter[int] = Counter()  # how often each position was settled, corrections included
        self.disputed: set[int] = set()
        self.told: defaultdict[str, list[str]] = defaultdict(list)  # by node, in the words of a sign

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Market"]:
        """Follows the engine's events until the block ends."""
        following = asyncio.create_task(self._follow())
        try:
            async with asyncpg.create_pool(self._venue.settings.database_url, min_size=1, max_size=1) as self._pool:
                yield self
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    async def pay_in(self, accounts: Iterable[str]) -> None:
        """Gives accounts more money than they can lose."""
        credits = [
            Credit(transfer_id=f"t-{account}", account=account, asset="CNY", amount_micros=RICH_MICROS)
            for account in accounts
        ]
        await self._venue.log.send("ledger", *credits)

    async def sell(self, account: str, nodes: Iterable[str], buyer: str, periods: int = 1) -> None:
        """Offers one GPU of each node for the next hours, and has the buyer buy it.

        One sale at a time: what a buyer finds is what was just offered, or nothing.
        """
        async with self._turn:
            contracts = self._venue.contracts(periods, self.gate_lead_s + ORDERS_S)
            for node in nodes:
                heard = len(self.refused[account]) + len(self.positions[account])
                await self._venue.offer(account, SimpleNamespace(node_id=node), contracts, 1)
                if periods > 1:
                    await self._venue.buy_block(buyer, contracts, 1)
                else:
                    await self._venue.buy(buyer, contracts[0], 1)
                async with asyncio.timeout(WAIT_S), self._news:
                    await self._news.wait_for(
                        lambda heard=heard: len(self.refused[account]) + len(self.positions[account]) > heard
                    )

    async def lives(self, node: str) -> None:
        """Waits until the engine has heard that a node lives: its offers are taken from then on."""
        async with asyncio.timeout(WAIT_S), self._news:
            await self._news.wait_for(lambda: node in self.alive)

    def is_settled(self, account: str) -> bool:
        """Whether every hour that an account sold has been settled."""
        return all(position in self.settled for position in self.positions[account])

    def settlements(self, account: str) -> int:
        """Returns how often hours of an account were settled or disputed."""
        positions = self.positions[account]
        return sum(self.settled[position] for position in positions) + len(self.disputed.intersection(positions))

    async def reasons(self, account: str) -> set[str]:
        """Returns why time in the hours of an account did not count, as they were measured last."""
        rows = await self._pool.fetch(LAST_OUTCOMES, self.positions[account])
        outcomes = [MeterOutcome.model_validate_json(unpack(row["outcome"])) for row in rows]
        return {each.reason for outcome in outcomes for each in outcome.intervals if not each.conforming}

    async def _follow(self) -> None:
        partitions = [TopicPartition(topic.name, 0) for topic in (EVENTS, DELIVERY_EVENTS)]
        async with AIOKafkaConsumer(bootstrap_servers=self._venue.log.bootstrap, enable_auto_commit=False) as consumer:
            consumer.assign(partitions)
            await consumer.seek_to_beginning()
            while True:
                fetched = await consumer.getmany(timeout_ms=200)
                async with self._news:
                    for records in fetched.values():
                        for record in records:
                            self._take(json.loads(record.value))
                    self._news.notify_all()

    def _take(self, event: dict) -> None:
        kind = event["type"]
        if kind != "credited":
            for account, _, available_delta, held_delta, *_ in event.get("postings", ()):
                self.earned[account] += available_delta + held_delta
        if kind == "trade":
            self.positions[event["seller"]].append(event["position_id"])
            self.bonds[event["seller"]] += event["bond_micros"]
        elif kind == "order_rejected":
            self.refused[event["account"]].append(event["code"])
        elif kind == "position_settled":
            self.settled[event["position_id"]] += 1
        elif kind == "node_liveness_changed" and event["alive"]:
            self.alive.add(event["node"])
        elif kind == "dispute_opened":
            self.disputed.add(event["position_id"])
        elif kind == "node_state_changed":
            self.told[event["node"]].append(f"{event['state']} {event['reason']}".strip())
        elif kind == "level_hold_changed" and event["held"]:
            self.told[event["node"]].append(f"held {event['reason']}")
