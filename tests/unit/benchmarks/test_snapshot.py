"""The bench of snapshots fills an engine with as many resting orders as it says, and loads what it wrote."""

from benchmarks.snapshot import measure_snapshot


def test_every_order_of_the_bench_rests_and_comes_back():
    figures = measure_snapshot(2_000, 1)
    assert (figures["orders"], figures["equal"]) == (2_000, True)
    assert min(figures["write_s"], figures["load_s"], figures["megabytes"]) > 0
