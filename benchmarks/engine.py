"""Runs command streams through the bare order book, round by round beside the floor program."""

import statistics
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from benchmarks.exchange_stream import run_exchange
from benchmarks.floor.program import run_floor
from benchmarks.harness.stream import StreamRunner, StreamTotals
from benchmarks.streams.format import COMMAND, Header, read_stream

BATCH_COMMANDS = 8_192
HASHED_BYTES = 1 << 22
FIXED_STREAMS = ("w1", "w1s", "w2", "w3", "w4")


def batches(commands: memoryview) -> Iterator[memoryview]:
    """The commands in the portions that one call takes."""
    step = BATCH_COMMANDS * COMMAND.size
    for start in range(0, len(commands), step):
        yield commands[start : start + step]


def run_book(header: Header, commands: memoryview) -> tuple[float, StreamTotals]:
    """One round: fill fresh books, then run the rest; gives CPU ns per command of the rest, and the result."""
    filled = header.fill_commands * COMMAND.size
    runner = StreamRunner(header.books)
    for batch in batches(commands[:filled]):
        runner.apply_stream(batch)
    measured = list(batches(commands[filled:]))
    begin_ns = time.thread_time_ns()
    for batch in measured:
        runner.apply_stream(batch)
    return (time.thread_time_ns() - begin_ns) / header.commands, runner.totals()


def is_expected(header: Header, totals: StreamTotals) -> bool:
    """Whether a round came to what the stream's own matcher came to."""
    expected = (header.trades, header.quantity, header.checksum, header.live, header.live_quantity, header.cancels, 0)
    return totals == expected


def hash_ns_per_byte() -> float:
    """CPU ns that SHA-256 takes for a byte of one long message: nothing that links events takes less."""
    text = bytes(HASHED_BYTES)
    begin_ns = time.thread_time_ns()
    sha256(text)
    return (time.thread_time_ns() - begin_ns) / HASHED_BYTES


def measure_stream(path: Path, floor: Path | None, rounds: int) -> dict[str, object]:
    """Interleaved rounds of the floor (where there is one), the book and the whole exchange over one stream.

    Figures are medians of CPU time; `least` are those of the rounds that neighbours on the machine disturbed least.
    """
    header, commands = read_stream(path)
    book_ns, exchange_ns, floor_ns, equal = [], [], [], True
    for _ in range(rounds):
        if floor is not None:
            outcome = run_floor(floor, path)
            floor_ns.append(outcome.cpu_ns_per_command)
            equal = equal and outcome.equal
        spent_ns, totals = run_book(header, commands)
        book_ns.append(spent_ns)
        equal = equal and is_expected(header, totals)
        spent, totals = run_exchange(header, commands)
        exchange_ns.append(spent.applied_ns / header.commands)
        equal = equal and is_expected(header, totals)
    written, _ = run_exchange(header, commands, writes=True)
    events = max(written.events, 1)
    figures = {
        "stream": path.stem,
        "commands": header.commands,
        "trades": totals.trades,
        "quantity": totals.quantity,
        "checksum": f"{totals.checksum:016x}",
        "live": totals.live,
        "equal": equal,
        "book_ns": round(statistics.median(book_ns), 1),
        "commands_per_s": round(1e9 / statistics.median(book_ns)),
        "exchange_ns": round(statistics.median(exchange_ns), 1),
        "write_ns_per_event": round(written.written_ns / events),
        "hash_floor_ns_per_event": round(written.event_bytes / events * hash_ns_per_byte()),
    }
    if floor_ns:
        figures["floor_ns"] = round(statistics.median(floor_ns), 1)
        figures["ratio"] = round(statistics.median(book_ns) / statistics.median(floor_ns), 2)
        figures["exchange_ratio"] = round(statistics.median(exchange_ns) / statistics.median(floor_ns), 2)
        least = [round(min(each), 1) for each in (floor_ns, book_ns, exchange_ns)]
        figures |= dict(zip(("floor_least_ns", "book_least_ns", "exchange_least_ns"), least, strict=True))
        figures["exchange_least_ratio"] = round(least[2] / least[0], 2)
    return figures
