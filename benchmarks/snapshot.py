"""Writes and loads a snapshot of many resting orders, beside hashing and copying as many bytes."""

import random
import time
from collections.abc import Callable, Iterator
from hashlib import sha256

from benchmarks.venue import START_S, Record, contract_names, open_venue
from matching_engine import ENGINE_NAME, Engine
from schemas.orders import PlaceOrder

CONTRACTS = 200
ORDERS_PER_ACCOUNT, ORDERS_PER_NODE = 100, 1_000
BATCH = 10_000
TICK_MICROS = 10_000
BIDS_BELOW, ASKS_FROM, TICKS = 1_000, 1_000, 400


def template(side: str, node: str | None) -> bytes:
    """An order's record with gaps for what differs."""
    order = PlaceOrder(
        command_id="COMMAND",
        account="ACCOUNT",
        client_order_id="CLIENT",
        contract=contract_names(1)[0],
        side=side,
        kind="limit",
        qty=1,
        price_micros=987_654,
        max_cost_micros=None,
        tif="GTG",
        post_only=False,
        node=node,
        stp="cancel_newest",
    )
    gaps = {
        b"COMMAND": b"command-%(number)d",
        b"ACCOUNT": b"%(account)b",
        b"CLIENT": b"client-order-%(number)d",
        b"987654": b"%(price)d",
        b"NODE": b"%(node)b",
        contract_names(1)[0].encode(): b"%(contract)b",
    }
    text = order.canonical()
    for value, gap in gaps.items():
        text = text.replace(value, gap)
    return text


def resting(orders: int) -> Iterator[bytes]:
    """Records of orders that do not cross: every node's asks in every contract, then bids of everybody."""
    dice, contracts = random.Random(11), [name.encode() for name in contract_names(CONTRACTS)]
    accounts, nodes = orders // ORDERS_PER_ACCOUNT, orders // ORDERS_PER_NODE
    ask, bid = template("sell", "NODE"), template("buy", None)
    for number in range(orders):
        if number < nodes * CONTRACTS:
            node, contract = number % nodes, contracts[number // nodes]
            ticks = ASKS_FROM + dice.randrange(TICKS)
            places = {b"node": b"node-%d" % node, b"account": b"account-%05d" % node}
            text = ask
        else:
            contract, ticks = dice.choice(contracts), BIDS_BELOW - 1 - dice.randrange(TICKS)
            places, text = {b"account": b"account-%05d" % dice.randrange(accounts)}, bid
        yield text % (places | {b"contract": contract, b"price": ticks * TICK_MICROS, b"number": number})


def fill(orders: int) -> Engine:
    """An engine with so many resting orders, thousands at least."""
    accounts = [f"account-{place:05d}" for place in range(orders // ORDERS_PER_ACCOUNT)]
    nodes = {f"node-{place}": accounts[place] for place in range(orders // ORDERS_PER_NODE)}
    opening, engine = open_venue(accounts, 10**13, nodes, CONTRACTS), Engine()
    engine.apply(opening)
    records: list[Record] = []
    for offset, text in enumerate(resting(orders), start=len(opening)):
        records.append((offset, START_S * 1000, text))
        if len(records) == BATCH:
            engine.apply(records)
            records.clear()
    engine.apply(records)
    return engine


def least_s(action: Callable[[], object], rounds: int) -> tuple[float, object]:
    """Wall-clock seconds of the round that neighbours on the machine disturbed least, and what came of the last one."""
    taken_s = []
    for _ in range(rounds):
        began = time.perf_counter()
        outcome = action()
        taken_s.append(time.perf_counter() - began)
    return min(taken_s), outcome


def measure_snapshot(orders: int, rounds: int) -> dict[str, object]:
    """Seconds to write and to load a snapshot; the floor is hashing and copying the same bytes."""
    engine = fill(orders)
    resting_orders = len(engine.state.orders)
    write_s, raw = least_s(engine.snapshot, rounds)
    link = engine.link
    del engine
    floor_s, _ = least_s(lambda: (sha256(raw).digest(), bytes(memoryview(raw))), rounds)
    load_s, loaded = least_s(lambda: Engine.restore(raw), rounds)
    return {
        "engine": ENGINE_NAME,
        "orders": resting_orders,
        "megabytes": round(len(raw) / 1e6, 1),
        "write_s": round(write_s, 3),
        "load_s": round(load_s, 3),
        "floor_s": round(floor_s, 3),
        "write_to_floor": round(write_s / floor_s, 1),
        "load_to_floor": round(load_s / floor_s, 1),
        "equal": resting_orders == orders and loaded.link == link and loaded.snapshot() == raw,
    }
