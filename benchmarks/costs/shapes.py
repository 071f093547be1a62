"""Books of unusual shapes, where other engines walk: deep levels, long sweeps, empty price ranges."""

import random
import time
from collections.abc import Iterable

from benchmarks.harness.stream import StreamRunner
from benchmarks.streams.format import BID, CANCEL, COMMAND, IMMEDIATE, LIMIT

ORDERS = 10_000
PRICE_MAX = 2**31 - 1
ASK = 1


def record(order_id: int, side: int, price: int, operation: int = LIMIT, quantity: int = 1) -> bytes:
    return COMMAND.pack(operation, side, 0, quantity, price, 1, order_id)


def ns_per_command(fill: Iterable[bytes], measured: Iterable[bytes], rounds: int) -> float:
    """The least CPU time of some rounds, each on a fresh book."""
    filled, rest = b"".join(fill), b"".join(measured)
    spent_ns = []
    for _ in range(rounds):
        runner = StreamRunner(1)
        runner.apply_stream(filled)
        begin_ns = time.thread_time_ns()
        runner.apply_stream(rest)
        spent_ns.append(time.thread_time_ns() - begin_ns)
        if runner.totals().refused:
            raise RuntimeError("the book refused a command of the bench")
    return min(spent_ns) / (len(rest) // COMMAND.size)


def deep_cancel_ratio(rounds: int) -> float:
    """Random cancels in a level of 10,000 orders, beside such of orders alone at their prices."""
    ids = list(range(1, ORDERS + 1))
    random.Random(1).shuffle(ids)
    cancels = [record(order_id, BID, 0, CANCEL) for order_id in ids]
    deep = ns_per_command((record(i, BID, 100) for i in range(1, ORDERS + 1)), cancels, rounds)
    alone = ns_per_command((record(i, BID, i) for i in range(1, ORDERS + 1)), cancels, rounds)
    return deep / alone


def sweep_ratio(rounds: int) -> float:
    """One order that takes 10,000, beside 10,000 that take one each."""
    asks = [record(i, ASK, i) for i in range(1, ORDERS + 1)]
    sweep = [record(ORDERS + 1, BID, ORDERS, IMMEDIATE, ORDERS)]
    single = [record(ORDERS + i, BID, ORDERS, IMMEDIATE) for i in range(1, ORDERS + 1)]
    return ns_per_command(asks, sweep, rounds) / ORDERS / ns_per_command(asks, single, rounds)


def empty_range_ratio(rounds: int) -> float:
    """The best ask goes and comes back, the next one two thousand million ticks away, beside one tick away."""
    toggles = [record(1, ASK, 0, CANCEL), record(1, ASK, 101)] * ORDERS
    far = ns_per_command([record(1, ASK, 101), record(2, ASK, PRICE_MAX)], toggles, rounds)
    near = ns_per_command([record(1, ASK, 101), record(2, ASK, 102)], toggles, rounds)
    return far / near


def measure_shapes(rounds: int) -> dict[str, float]:
    """Each as a ratio to the same work on a book of an ordinary shape."""
    return {
        "deep_cancel_ratio": round(deep_cancel_ratio(rounds), 2),
        "sweep_ratio": round(sweep_ratio(rounds), 2),
        "empty_range_ratio": round(empty_range_ratio(rounds), 2),
    }
