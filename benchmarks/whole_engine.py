"""Runs orders and cancels through the whole engine, from canonical bytes to canonical bytes, beside the reference."""

import random
import statistics
import time
from hashlib import sha256

from benchmarks.venue import START_S, Record, contract_names, open_venue
from matching_engine import ENGINE_NAME, Engine
from matching_engine.rules import Engine as ReferenceEngine
from schemas.orders import CancelOrder, PlaceOrder

ACCOUNTS = 200
CONTRACTS = 20
CANCELS_PERCENT = 45
REFERENCE_COMMANDS = 10_000


def opening() -> list[Record]:
    """The venue before trading: keys, one product, money."""
    return open_venue([f"account-{place:04d}" for place in range(ACCOUNTS)], 10**15, {}, CONTRACTS)


def trading(first_offset: int, commands: int, seed: int) -> list[Record]:
    """Bids that rest and cancels of them, as clients would send them."""
    dice = random.Random(seed)
    contracts = contract_names(CONTRACTS)
    live: list[tuple[str, int]] = []
    records, orders = [], 0
    for offset in range(first_offset, first_offset + commands):
        if live and dice.randrange(100) < CANCELS_PERCENT:
            place = dice.randrange(len(live))
            live[place], live[-1] = live[-1], live[place]
            account, order_id = live.pop()
            command = CancelOrder(
                command_id=f"command-{offset}", account=account, order_id=order_id, client_order_id=None
            )
        else:
            orders += 1
            account = f"account-{dice.randrange(ACCOUNTS):04d}"
            live.append((account, orders))
            command = bid(dice, offset, account, dice.choice(contracts))
        records.append((offset, START_S * 1000, command.canonical()))
    return records


def bid(dice: random.Random, offset: int, account: str, contract: str) -> PlaceOrder:
    return PlaceOrder(
        command_id=f"command-{offset}",
        account=account,
        client_order_id=f"order-{offset}",
        contract=contract,
        side="buy",
        kind="limit",
        qty=dice.randint(1, 8),
        price_micros=10_000 * dice.randint(900, 1200),
        max_cost_micros=None,
        tif="GTG",
        post_only=False,
        node=None,
        stp="cancel_newest",
    )


def run(engine_class: type, start: list[Record], records: list[Record], batch: int) -> tuple[float, list[bytes]]:
    """One round on a fresh engine; CPU seconds of the commands alone, and the events of each batch as one text."""
    engine, texts, spent_ns = engine_class(), [], 0
    engine.apply(start)
    for first in range(0, len(records), batch):
        portion = records[first : first + batch]
        begin_ns = time.thread_time_ns()
        events = engine.apply(portion)
        spent_ns += time.thread_time_ns() - begin_ns
        texts.append(b"\n".join(events))
    return spent_ns / 1e9, texts


def measure_whole(commands: int, rounds: int, seed: int = 1, batch: int = 500) -> dict[str, object]:
    """Medians of interleaved rounds of the default engine and, over the log's beginning, the reference."""
    start = opening()
    records = trading(len(start), commands, seed)
    beginning = records[:REFERENCE_COMMANDS]
    spent_s, reference_s, equal = [], [], True
    for _ in range(rounds):
        seconds, texts = run(Engine, start, records, batch)
        spent_s.append(seconds / len(records))
        seconds, expected = run(ReferenceEngine, start, beginning, batch)
        reference_s.append(seconds / len(beginning))
        equal = equal and texts[: len(expected)] == expected
    per_command, reference = statistics.median(spent_s), statistics.median(reference_s)
    return {
        "engine": ENGINE_NAME,
        "commands": len(records),
        "events_sha256": sha256(b"\n".join(texts)).hexdigest(),
        "equal": equal,
        "ns_per_command": round(per_command * 1e9),
        "commands_per_s": round(1 / per_command),
        "best_commands_per_s": round(1 / min(spent_s)),
        "reference_commands_per_s": round(1 / reference),
        "ratio": round(reference / per_command, 1),
    }
