"""Runs command streams through the whole exchange, from packed commands to packed events."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.harness.exchange_stream import ExchangeRunner
from benchmarks.harness.stream import StreamTotals
from benchmarks.streams.format import COMMAND, Header
from benchmarks.venue import contract_names, open_venue
from matching_engine.engine import Engine

ACCOUNTS = 1_001
CASH_MICROS = 10**15
TICK_MICROS = 10_000
BATCH_COMMANDS = 128  # what the engine reads at a time
WINDOW_COMMANDS = 256


def batches(commands: memoryview) -> Iterator[memoryview]:
    """The commands in the portions that one call takes."""
    step = BATCH_COMMANDS * COMMAND.size
    for start in range(0, len(commands), step):
        yield commands[start : start + step]


def open_exchange(header: Header) -> tuple[Engine, ExchangeRunner]:
    """A venue with a contract for each book, and for each account of the stream a buyer, a seller and his node."""
    accounts = [(f"buyer-{i:04d}", f"seller-{i:04d}", f"node-{i:04d}") for i in range(ACCOUNTS)]
    nodes = {node: seller for _, seller, node in accounts}
    traders = [name for buyer, seller, _ in accounts for name in (buyer, seller)]
    engine = Engine()
    engine.apply(open_venue(traders, CASH_MICROS, nodes, header.books))
    runner = ExchangeRunner(engine, contract_names(header.books), accounts, TICK_MICROS, header.price_min)
    return engine, runner


@dataclass
class Spent:
    """CPU ns of applying commands, and apart from it of writing and linking their events, which had so many bytes."""

    applied_ns: int = 0
    written_ns: int = 0
    events: int = 0
    event_bytes: int = 0


def run_exchange(header: Header, commands: memoryview, writes: bool = False) -> tuple[Spent, StreamTotals]:
    """One round: fill a fresh exchange, then run the rest; gives what the rest took, and the result."""
    _, runner = open_exchange(header)
    filled = header.fill_commands * COMMAND.size
    run_all(runner, commands[:filled], writes=False)
    return run_all(runner, commands[filled:], writes), runner.totals()


def run_all(runner: ExchangeRunner, commands: memoryview, writes: bool) -> Spent:
    """Packing the stream's records and adding up what came of them are not the exchange's work, and not counted."""
    spent = Spent()
    for batch in batches(commands):
        left = runner.load(batch)
        while left:
            begin_ns = time.thread_time_ns()
            left = runner.run(WINDOW_COMMANDS)
            applied_ns = time.thread_time_ns()
            spent.applied_ns += applied_ns - begin_ns
            if writes:
                events, size = runner.write()
                spent.events += events
                spent.event_bytes += size
                spent.written_ns += time.thread_time_ns() - applied_ns
            runner.count()
    return spent
