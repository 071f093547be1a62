"""All of them in one report, and what they are held against."""

from pathlib import Path

from benchmarks.costs.allocations import measure_allocations
from benchmarks.costs.books import measure_growth, measure_many_books, measure_memory
from benchmarks.costs.latency import measure_latency
from benchmarks.costs.one_call import measure_one_call
from benchmarks.costs.shapes import measure_shapes
from benchmarks.floor.program import build_floor
from benchmarks.streams.generate import cached_stream


def measure_costs(folder: Path, rounds: int) -> dict[str, dict[str, object]]:
    """Every cost beside its floor. `folder` keeps programs and streams from one run to the next."""
    floor, w1 = build_floor(folder), cached_stream("w1", folder)
    return {
        "memory": measure_memory(cached_stream("wm", folder)),
        "many_books": measure_many_books(folder, floor, rounds),
        "growth": measure_growth(folder, floor, rounds),
        "latency": measure_latency(w1, floor, rounds),
        "one_call": measure_one_call(w1, folder, rounds),
        "shapes": measure_shapes(rounds),
        "allocations": measure_allocations(w1, folder),
    }
