"""The time of single commands, one by one and with nothing read ahead, by the processor's counter on both sides."""

import json
import os
import subprocess
import time
from array import array
from pathlib import Path

from benchmarks.floor.program import HASHED_IDS_AND_TRADE_BUFFER, RUN_LIMIT_S, FloorError
from benchmarks.harness.stream import StreamRunner, empty_ticks, read_ticks
from benchmarks.streams.format import COMMAND, read_stream

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
CALIBRATION_S = 0.2


def measure_latency(stream: Path, floor: Path, rounds: int) -> dict[str, object]:
    """Nanoseconds of one command; each figure is the least of the rounds."""
    book = [book_ns(stream) for _ in range(rounds)]
    base = [floor_ns(floor, stream) for _ in range(rounds)]
    book_least, floor_least = (
        {share: min(each[share] for each in found) for share in SHARES} for found in (book, base)
    )
    return {"book_ns": book_least, "floor_ns": floor_least, "ratio": round(book_least["p99"] / floor_least["p99"], 2)}


def ticks_per_ns() -> float:
    begin_ns, begin = time.perf_counter_ns(), read_ticks()
    time.sleep(CALIBRATION_S)
    return (read_ticks() - begin) / (time.perf_counter_ns() - begin_ns)


def book_ns(stream: Path) -> dict[str, int]:
    header, commands = read_stream(stream)
    filled = header.fill_commands * COMMAND.size
    ticks = array("I", bytes(4 * header.commands))
    runner = StreamRunner(header.books)
    runner.apply_stream(commands[:filled])
    runner.time_each(commands[filled:], ticks)
    empty, rate = empty_ticks(), ticks_per_ns()
    ordered = sorted(max(each - empty, 0) for each in ticks)
    return {name: round(ordered[int(share * (len(ordered) - 1))] / rate) for name, share in SHARES.items()}


def floor_ns(floor: Path, stream: Path) -> dict[str, int]:
    """The floor program's own mode for this: it takes the middle of three runs over the stream."""
    outcome = subprocess.run(
        [str(floor), str(stream), "1", HASHED_IDS_AND_TRADE_BUFFER],
        env=os.environ | {"MB_LAT": "1"},
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
    )
    rows = [json.loads(line) for line in outcome.stdout.splitlines()]
    every = next((row for row in rows if row["ops"] == "all"), None)
    if every is None:
        raise FloorError("the floor program does not tell its latency")
    return {name: round(every[name]) for name in SHARES}
