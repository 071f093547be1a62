"""Every kind of command by itself, and beside what a stranger leaves standing in the same books: what each costs.

Beside: a block that waits, an iceberg on either side, and a hundred accounts with limits, none of which trades.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks.venue import START_S, TERMS, Opening, Record, contract_names
from matching_engine.engine import Engine
from schemas.base import Model
from schemas.orders import CancelOrder, PlaceBlock, PlaceOrder, PostCapacity, ReplaceOrder
from schemas.venue import Credit, DefineProduct, NodeGpu, NodesAlive, RegisterNode, SetAccountLimits

HOURS, NODES, GPUS = 24, 100, 8
LIMITED = 100
TICK_MICROS = 10_000
ASK, BID, FAR = 2_000 * TICK_MICROS, 500 * TICK_MICROS, 9_000 * TICK_MICROS
RICH_MICROS = 10**15
CONTRACTS = contract_names(HOURS)
FIRST_S = START_S + 2 * 3_600
Commands = list[Model]


class Venue:
    """An engine with one product. `alice` and `op` send what is measured, `carol` leaves standing what is beside."""

    def __init__(self, beside: bool):
        self.engine, self.offset, self.number = Engine(), 0, 0
        self.opening = Opening()
        self.open()
        self.send([self.bid(contract=contract, price_micros=TICK_MICROS) for contract in CONTRACTS])
        if beside:
            self.stand_beside()

    def open(self) -> None:
        """Products, money and nodes."""
        accounts = ("alice", "op", "carol")
        names = tuple(f"n{number}" for number in range(NODES))
        credits = [Credit(transfer_id=each, account=each, asset="CNY", amount_micros=RICH_MICROS) for each in accounts]
        self.opening.send("admin", [DefineProduct(**TERMS, horizon_periods=HOURS + 2)])
        self.opening.send("ledger", credits)
        self.opening.send("delivery", [register(name, "op") for name in names] + [register("c0", "carol")])
        until_ms = (START_S + (HOURS + 2) * 3_600) * 1000
        self.opening.send("delivery", [NodesAlive(nodes=(*names, "c0"), until_ms=until_ms)])
        self.apply(self.opening.values)

    def stand_beside(self) -> None:
        limits = (SetAccountLimits(account=f"member-{place}", max_open_orders=5) for place in range(LIMITED))
        self.apply([self.opening.signed("admin", tuple(limits))])
        hidden = {"account": "carol", "qty": GPUS, "display_qty": 1}
        self.send(
            [
                self.block(account="carol", tif="GTG", limit_price_micros=TICK_MICROS),
                self.bid(**hidden, price_micros=TICK_MICROS),
                self.bid(**hidden, side="sell", node="c0", price_micros=FAR),
            ]
        )

    def apply(self, values: Sequence[bytes]) -> list[bytes]:
        records: list[Record] = [(self.offset + place, START_S * 1000, value) for place, value in enumerate(values)]
        self.offset += len(records)
        return self.engine.apply(records)

    def send(self, commands: Commands) -> list[bytes]:
        return self.apply([command.canonical() for command in commands])

    # -- commands

    def ids(self, account: str) -> dict[str, str]:
        self.number += 1
        return {"command_id": f"c-{self.number}", "client_order_id": f"i-{self.number}", "account": account}

    def bid(self, account: str = "alice", **terms: Any) -> PlaceOrder:
        usual = {"contract": CONTRACTS[0], "side": "buy", "kind": "limit", "qty": 1, "price_micros": BID}
        usual |= {"max_cost_micros": None, "tif": "GTG", "post_only": False, "node": None, "stp": "cancel_newest"}
        return PlaceOrder(**(self.ids(account) | usual | terms))

    def ask(self, place: int, **terms: Any) -> PlaceOrder:
        return self.bid("op", **({"side": "sell", "node": f"n{place % NODES}", "price_micros": ASK} | terms))

    def block(self, account: str = "alice", **terms: Any) -> PlaceBlock:
        usual = {"product": TERMS["product"], "start_s": FIRST_S, "periods": 2, "qty": 1, "min_qty": 1}
        usual |= {"limit_price_micros": BID, "max_cost_micros": None, "tif": "IOC", "stp": "cancel_newest"}
        return PlaceBlock(**(self.ids(account) | usual | terms))

    def capacity(self, place: int) -> PostCapacity:
        window = {"from_s": FIRST_S, "to_s": FIRST_S + 2 * 3_600}
        price = {"floor_price_micros": ASK, "floor_curve_micros": None}
        return PostCapacity(
            **self.ids("op"), product=TERMS["product"], node=f"n{place % NODES}", gpus=1, **window, **price
        )


def register(name: str, owner: str) -> RegisterNode:
    serials = [f"{name.encode().hex().rjust(12, '0')}-{place:02d}" for place in range(GPUS)]
    gpus = tuple(NodeGpu(uuid=f"GPU-{serial}", serial=serial) for serial in serials)
    return RegisterNode(node=name, account=owner, grade="H100SXM80", hub="CNE", level="T3", gpus=gpus)


# -- the kinds: what stands before, what is measured; of how many books, and the first event of each command


def limit_orders(venue: Venue, count: int) -> tuple[Commands, Commands]:
    return [], [venue.bid() for _ in range(count)]


def asks(venue: Venue, count: int) -> tuple[Commands, Commands]:
    return [], [venue.ask(place) for place in range(count)]


def bids_of(**terms: Any) -> Callable[[Venue, int], tuple[Commands, Commands]]:
    """Bids with some terms that meet nobody."""
    return lambda venue, count: ([], [venue.bid(**terms) for _ in range(count)])


def takers_of(**terms: Any) -> Callable[[Venue, int], tuple[Commands, Commands]]:
    """Bids with some terms, each of which meets an ask of one GPU."""

    def draw(venue: Venue, count: int) -> tuple[Commands, Commands]:
        return [venue.ask(place) for place in range(count)], [
            venue.bid(**({"price_micros": ASK} | terms)) for _ in range(count)
        ]

    return draw


def meeting_icebergs(venue: Venue, count: int) -> tuple[Commands, Commands]:
    before = [venue.ask(place, qty=GPUS, display_qty=1) for place in range(-(-count // GPUS))]
    return before, [venue.bid(price_micros=ASK) for _ in range(count)]


def own_oldest(venue: Venue, count: int) -> tuple[Commands, Commands]:
    prices = [ASK + place * TICK_MICROS for place in range(count)]
    before = [venue.ask(place, price_micros=price) for place, price in enumerate(prices)]
    return before, [venue.bid("op", price_micros=price, stp="cancel_oldest") for price in prices]


def cancels(venue: Venue, count: int) -> tuple[Commands, Commands]:
    before = [venue.bid() for _ in range(count)]
    return before, [cancel(each) for each in before]


def cancels_of_the_gone(venue: Venue, count: int) -> tuple[Commands, Commands]:
    before, measured = cancels(venue, count)
    return before + measured, measured


def cancel(order: PlaceOrder) -> CancelOrder:
    named = {"account": order.account, "client_order_id": order.client_order_id}
    return CancelOrder(command_id=order.command_id, **named, order_id=None)


def replaces_of(**terms: Any) -> Callable[[Venue, int], tuple[Commands, Commands]]:
    def draw(venue: Venue, count: int) -> tuple[Commands, Commands]:
        before = [venue.bid(qty=2) for _ in range(count)]
        usual = {"order_id": None, "replace_id": None, "qty": None, "price_micros": None, "expires_ms": None} | terms
        named = [(each.command_id, each.account, each.client_order_id) for each in before]
        names = ("command_id", "account", "client_order_id")
        return before, [ReplaceOrder(**dict(zip(names, each, strict=True)), **usual) for each in named]

    return draw


def repeats(venue: Venue, count: int) -> tuple[Commands, Commands]:
    before = [venue.bid() for _ in range(count)]
    return before, before


def other_bodies(venue: Venue, count: int) -> tuple[Commands, Commands]:
    before = [venue.bid() for _ in range(count)]
    return before, [each.model_copy(update={"qty": 2}) for each in before]


def under_limits(venue: Venue, count: int) -> tuple[Commands, Commands]:
    terms = SetAccountLimits(account="alice", max_open_orders=100_000, max_position_gpus=100_000)
    venue.apply([venue.opening.signed("admin", (terms,))])
    return [], [venue.bid() for _ in range(count)]


def blocks(venue: Venue, count: int) -> tuple[Commands, Commands]:
    return [venue.capacity(place) for place in range(NODES)], [venue.block() for _ in range(count)]


def capacity(venue: Venue, count: int) -> tuple[Commands, Commands]:
    return [], [venue.capacity(place) for place in range(count)]


END_MS = START_S * 1000 + 3_600_000
KINDS: dict[str, tuple[Callable[[Venue, int], tuple[Commands, Commands]], int, str]] = {
    "bid": (limit_orders, 1, "order_accepted"),
    "ask": (asks, 1, "order_accepted"),
    "bid that trades": (takers_of(), 1, "order_accepted"),
    "market order": (takers_of(kind="market", price_micros=None, max_cost_micros=2 * ASK), 1, "order_accepted"),
    "IOC": (bids_of(tif="IOC"), 1, "order_accepted"),
    "GTD": (bids_of(tif="GTD", expires_ms=END_MS), 1, "order_accepted"),
    "FOK that trades": (takers_of(tif="FOK"), 1, "order_accepted"),
    "FOK that does not": (bids_of(tif="FOK"), 1, "order_rejected"),
    "min_qty": (takers_of(min_qty=1, tif="IOC"), 1, "order_accepted"),
    "post-only": (bids_of(post_only=True), 1, "order_accepted"),
    "post-only that crosses": (takers_of(post_only=True), 1, "order_accepted"),
    "iceberg": (bids_of(qty=4, display_qty=2), 1, "order_accepted"),
    "bid that meets an iceberg": (meeting_icebergs, 1, "order_accepted"),
    "cancel_oldest": (own_oldest, 1, "order_accepted"),
    "cancel": (cancels, 1, "order_canceled"),
    "cancel of what is gone": (cancels_of_the_gone, 1, "order_rejected"),
    "replace of the quantity": (replaces_of(qty=1), 1, "order_replaced"),
    "replace of the price": (replaces_of(price_micros=BID + TICK_MICROS), 1, "order_replaced"),
    "repeat": (repeats, 1, "order_duplicate"),
    "another body under an id": (other_bodies, 1, "order_rejected"),
    "bid under limits": (under_limits, 1, "order_accepted"),
    "block of two hours": (blocks, 2, "block_accepted"),
    "capacity of two hours": (capacity, 2, "capacity_accepted"),
}


# -- measuring


def measure_kinds(count: int, rounds: int) -> list[dict[str, Any]]:
    """Returns a line for each kind: microseconds of processor time alone and beside, medians of interleaved rounds.

    `in_bids` is what it costs alone, per book that it touches, in orders of the first kind.
    """
    spent: dict[str, tuple[list[float], list[float]]] = {kind: ([], []) for kind in KINDS}
    for _ in range(rounds):
        for kind, (alone, beside) in spent.items():
            alone.append(spend(kind, Venue(beside=False), count))
            beside.append(spend(kind, Venue(beside=True), count))
    usual_us = median(spent["bid"][0])
    return [row_of(kind, median(alone), median(beside), usual_us) for kind, (alone, beside) in spent.items()]


def row_of(kind: str, alone_us: float, beside_us: float, usual_us: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "alone_us": round(alone_us, 2),
        "beside_us": round(beside_us, 2),
        "beside_ratio": round(beside_us / alone_us, 2),
        "in_bids": round(alone_us / KINDS[kind][1] / usual_us, 2),
    }


def spend(kind: str, venue: Venue, count: int) -> float:
    """Microseconds of a command, bytes to bytes. Raises RuntimeError where something else came of it than is meant."""
    draw, _, expected = KINDS[kind]
    before, measured = draw(venue, count)
    venue.send(before)
    values = [command.canonical() for command in measured]
    records = [(venue.offset + place, START_S * 1000, value) for place, value in enumerate(values)]
    began_ns = time.thread_time_ns()
    events = venue.engine.apply(records)
    spent_ns = time.thread_time_ns() - began_ns
    firsts = [event for event in events if b'"index":0,' in event]
    wrong = [event for event in firsts if not event.startswith(f'{{"type":"{expected}"'.encode())]
    wrong = [event for event in wrong if not event.startswith(b'{"type":"balance_digest"')]
    if wrong or len(firsts) < count:
        raise RuntimeError(f"{kind}: {wrong[:1]} of {len(firsts)}")
    return spent_ns / count / 1000
