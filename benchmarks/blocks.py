"""Blocks over 24 hours against many nodes and capacity over 72 hours, beside limit orders of the same run."""

import random
import time
from collections.abc import Sequence
from statistics import median

from schemas.base import Model
from schemas.orders import PlaceBlock, PlaceOrder, PostCapacity
from schemas.venue import Credit, DefineProduct, NodeGpu, NodesAlive, RegisterNode
from tests.scenarios.venue import PRODUCT, Venue, contract_of, hour_start_s, product_terms

BLOCK_HOURS, CAPACITY_HOURS = 24, 72
BATCH_NODES = 200
TICK_MICROS = 10_000
RICH_MICROS = 10**15


def measure(nodes: int, orders: int, rounds: int) -> dict[str, float]:
    """Returns microseconds of processor time per command, each the median of the rounds."""
    from matching_engine.engine import Engine

    bench = BlockBench(Venue(Engine()), nodes)
    bench.bid_in_every_hour()
    parts = [range(nodes * part // rounds, nodes * (part + 1) // rounds) for part in range(rounds)]
    capacity_us = median(map(bench.capacity_us, parts))
    names = ("limit", "miss", "hit")
    found = {name: [getattr(bench, f"{name}_us")(orders) for _ in range(rounds)] for name in names}
    limit_us, miss_us, hit_us = (median(found[name]) for name in names)
    return {
        "nodes": nodes,
        "limit_order_us": limit_us,
        "block_without_a_trade_us": miss_us,
        "block_with_24_trades_us": hit_us,
        "capacity_of_72_hours_us": capacity_us,
        "capacity_in_limit_orders": round(capacity_us / limit_us, 1),
    }


class BlockBench:
    """A venue whose nodes all offer eight GPUs in every hour, at prices of their own."""

    def __init__(self, venue: Venue, nodes: int):
        self.venue, self.nodes, self.number, self.random = venue, nodes, 0, random.Random(7)
        terms: DefineProduct = product_terms(PRODUCT, horizon_periods=100)
        venue.batch("admin", terms)
        for account in ("op", "alice"):
            venue.batch("ledger", Credit(transfer_id=account, account=account, asset="CNY", amount_micros=RICH_MICROS))
        names = [f"n{number}" for number in range(nodes)]
        for first in range(0, nodes, BATCH_NODES):
            venue.batch("delivery", *map(register, names[first : first + BATCH_NODES]))
        venue.batch("delivery", NodesAlive(nodes=tuple(names), until_ms=venue.now_ms + 10**9))

    def run(self, commands: Sequence[Model]) -> float:
        """Applies the commands in one batch; returns microseconds for each."""
        first = len(self.venue.records)
        records = [(first + place, self.venue.now_ms, each.canonical()) for place, each in enumerate(commands)]
        began = time.process_time()
        events = self.venue.engine.apply(records)
        taken_s = time.process_time() - began
        self.venue.records += records
        if any(b'"type":"order_rejected"' in event for event in events):
            raise RuntimeError("the engine refused a command of the bench")
        return round(taken_s / len(commands) * 1e6, 1)

    def ids(self, account: str) -> dict[str, str]:
        self.number += 1
        return {"command_id": f"c-{self.number}", "client_order_id": f"i-{self.number}", "account": account}

    def bid_in_every_hour(self) -> None:
        """So that the hours are remembered, which is once in the life of a contract."""
        self.run([self.bid(1 + hour, 1) for hour in range(CAPACITY_HOURS)])

    def capacity_us(self, nodes: range) -> float:
        window = {"from_s": hour_start_s(1), "to_s": hour_start_s(1 + CAPACITY_HOURS)}
        return self.run(
            [
                PostCapacity(
                    **self.ids("op"),
                    product=PRODUCT,
                    node=f"n{number}",
                    gpus=8,
                    **window,
                    floor_price_micros=None,
                    floor_curve_micros=tuple(TICK_MICROS * self.random.randrange(900, 1100) for _ in range(24)),
                )
                for number in nodes
            ]
        )

    def limit_us(self, orders: int) -> float:
        places = range(10 * orders)
        return self.run([self.bid(1 + place % CAPACITY_HOURS, self.random.randrange(1, 800)) for place in places])

    def bid(self, hour: int, price_ticks: int) -> PlaceOrder:
        return PlaceOrder(
            **self.ids("alice"),
            contract=contract_of(hour),
            side="buy",
            kind="limit",
            qty=1,
            price_micros=TICK_MICROS * price_ticks,
            max_cost_micros=None,
            tif="GTG",
            post_only=False,
            node=None,
            stp="cancel_newest",
        )

    def miss_us(self, orders: int) -> float:
        return self.run([self.block(100) for _ in range(orders)])

    def hit_us(self, orders: int) -> float:
        return self.run([self.block(1100) for _ in range(orders)])

    def block(self, price_ticks: int) -> PlaceBlock:
        return PlaceBlock(
            **self.ids("alice"),
            product=PRODUCT,
            start_s=hour_start_s(1 + self.random.randrange(CAPACITY_HOURS - BLOCK_HOURS)),
            periods=BLOCK_HOURS,
            qty=1,
            min_qty=1,
            limit_price_micros=TICK_MICROS * price_ticks,
            max_cost_micros=None,
            tif="IOC",
            stp="cancel_newest",
        )


def register(name: str) -> RegisterNode:
    serials = [f"{name.encode().hex().rjust(12, '0')}-{place:02d}" for place in range(8)]
    gpus = tuple(NodeGpu(uuid=f"GPU-{serial}", serial=serial) for serial in serials)
    return RegisterNode(node=name, account="op", grade="H100SXM80", hub="CNE", level="T1", gpus=gpus)
