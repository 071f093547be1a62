"""How often memory is asked for in the steady state: the second half of a stream, in a process that counts it."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.engine import batches
from benchmarks.exchange_stream import batches as exchange_batches
from benchmarks.exchange_stream import open_exchange
from benchmarks.floor.program import build_program
from benchmarks.harness.stream import StreamRunner
from benchmarks.streams.format import COMMAND, Header, read_stream

COUNTER = Path(__file__).with_name("count_allocations.c")


def measure_allocations(stream: Path, folder: Path) -> dict[str, int]:
    """Runs this module in a process of its own, the counter loaded first."""
    counter = build_program((COUNTER,), folder, "allocations", ("-shared", "-fPIC", "-O2", "-x", "c"))
    outcome = subprocess.run(
        [sys.executable, "-m", __spec__.name, str(stream)],
        env=os.environ | {"LD_PRELOAD": str(counter)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(outcome.stdout)


def halves(header: Header, commands: memoryview) -> tuple[memoryview, memoryview]:
    middle = (header.fill_commands + header.commands // 2) * COMMAND.size
    return commands[:middle], commands[middle:]


def count_in_book(header: Header, commands: memoryview, allocations) -> int:
    """A batch that does nothing is called beside each, for what the call itself takes."""
    runner = StreamRunner(header.books)
    first, second = halves(header, commands)
    for batch in batches(first):
        runner.apply_stream(batch)
    found = 0
    for batch in batches(second):
        begin = allocations()
        runner.apply_stream(batch)
        middle = allocations()
        runner.apply_stream(b"")
        found += middle - begin - (allocations() - middle)
    return found


def count_in_exchange(header: Header, commands: memoryview, allocations) -> int:
    _, runner = open_exchange(header)
    first, second = halves(header, commands)
    found = 0
    for half in (first, second):
        found = 0
        for batch in exchange_batches(half):
            runner.load(batch)
            begin = allocations()
            runner.run()
            middle = allocations()
            runner.run()
            found += middle - begin - (allocations() - middle)
            runner.count()
    return found


def main(stream: Path) -> None:
    header, commands = read_stream(stream)
    allocations = ctypes.CDLL(None).allocations
    allocations.restype = ctypes.c_ulong
    book = count_in_book(header, commands, allocations)
    exchange = count_in_exchange(header, commands, allocations)
    print(json.dumps({"commands": header.commands - header.commands // 2, "book": book, "exchange": exchange}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
