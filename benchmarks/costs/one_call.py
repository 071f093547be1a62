"""One command per call from Python: the book beside the floor behind a call of the same form."""

import gc
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from benchmarks.floor.program import COMPILE_LIMIT_S, FLAGS, FloorError, build_program
from benchmarks.harness.stream import StreamRunner
from benchmarks.streams.format import COMMAND, read_stream

SOURCE = Path(__file__).with_name("floor_calls.pyx")
FLOOR = Path(__file__).parents[1] / "floor"
COMMANDS = 200_000


def measure_one_call(stream: Path, folder: Path, rounds: int) -> dict[str, object]:
    """Nanoseconds per call over the stream's beginning, each of its least disturbed round."""
    header, records = read_stream(stream)
    calls = list(COMMAND.iter_unpack(records[: (header.fill_commands + COMMANDS) * COMMAND.size]))
    filled, measured = calls[: header.fill_commands], calls[header.fill_commands :]
    floor_calls = load_floor_calls(folder)
    book_ns, floor_ns, equal = [], [], True
    for _ in range(rounds):
        floor = floor_calls.FloorCalls(header.fill_commands, header.books, header.price_min, header.price_max)
        spent_ns, trades = run(floor.apply_one, filled, measured)
        floor_ns.append(spent_ns)
        spent_ns, found = run(StreamRunner(header.books).apply_one, filled, measured)
        book_ns.append(spent_ns)
        equal = equal and found == trades
    return {
        "book_ns": round(min(book_ns), 1),
        "floor_ns": round(min(floor_ns), 1),
        "ratio": round(min(book_ns) / min(floor_ns), 2),
        "equal": equal,
    }


def run(apply_one: Callable[..., int], filled: list[tuple], measured: list[tuple]) -> tuple[float, int]:
    """CPU ns per call, and how many trades there were."""
    for call in filled:
        apply_one(*call)
    trades = 0
    gc.disable()
    begin_ns = time.thread_time_ns()
    for call in measured:
        trades += apply_one(*call)
    spent_ns = time.thread_time_ns() - begin_ns
    gc.enable()
    return spent_ns / len(measured), trades


def load_floor_calls(folder: Path) -> ModuleType:
    """Builds the floor as an extension module where that is missing."""
    generated = folder / "floor_calls.cpp"
    command = [sys.executable, "-m", "cython", "-3", "--cplus", "-o", str(generated), str(SOURCE)]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_LIMIT_S)
    if outcome.returncode != 0:
        raise FloorError(f"Cython does not build the floor's calls: {outcome.stderr.strip()[-200:]}")
    include = sysconfig.get_path("include")
    flags = (*FLAGS, "-shared", "-fPIC", f"-I{include}", f"-I{FLOOR}")
    path = build_program((generated, *sorted(FLOOR.glob("*.hpp"))), folder, "floor_calls", flags)
    loader = ExtensionFileLoader("floor_calls", str(path))
    module = module_from_spec(spec_from_loader("floor_calls", loader))
    loader.exec_module(module)
    return module
