"""Targets: what is measured is held against its bound, and only where it was measured."""

from benchmarks.targets import TARGETS, judge

BOOK = [
    {"stream": "w1", "commands_per_s": 9_000_000, "floor_ns": 25.0},
    {"stream": "w3", "commands_per_s": 1_900_000, "floor_ns": 40.0},
]
COSTS = {
    "memory": {"empty_book_bytes": 48, "order_in_book_bytes": 49.0, "order_in_engine_bytes": 257.0},
    "many_books": {"ratio": 1.4},
    "growth": {"ratio": 1.2},
    "latency": {"ratio": 1.6, "floor_ns": {"p99": 200}},
    "one_call": {"ratio": 1.1, "floor_ns": 150.0, "equal": True},
    "shapes": {"deep_cancel_ratio": 1.0, "sweep_ratio": 0.9, "empty_range_ratio": 1.1},
    "allocations": {"book": 1, "exchange": 40},
}
BLOCKS = {"block_without_a_trade_us": 30, "block_with_24_trades_us": 101.0, "capacity_in_limit_orders": 72}
KAFKA = {"commands_per_s": 130_000, "echo_per_s": 300_000, "ratio": 0.433}


def test_the_slowest_stream_counts_and_its_floor_stands_beside_it():
    assert judge({"book": BOOK}) == [
        {
            "figure": "order book, slowest stream, commands/s",
            "reached": 1_900_000,
            "target": "≥ 2,000,000",
            "floor": 25_000_000,
            "met": False,
        }
    ]


def test_ratios_to_the_floor_are_judged_by_the_worst_stream_where_there_is_a_floor():
    streams = [
        {"ratio": 1.0, "exchange_least_ratio": 4.0, "write_ns_per_event": 500},
        {"ratio": 1.7, "exchange_least_ratio": 5.0, "write_ns_per_event": 600},
    ]
    rows = judge({"book": [row | each for row, each in zip(BOOK, streams, strict=True)]})[1:]
    assert [(row["reached"], row["met"]) for row in rows] == [(1.7, False), (5.0, True), (600, True)]


def test_each_cost_of_the_book_is_judged():
    missed = [row["figure"] for row in judge({"costs": COSTS}) if not row["met"]]
    assert len(judge({"costs": COSTS})) == 11
    assert missed == [
        "a resting order in the engine, bytes",
        "p99 of one command to the floor's",
        "allocations of the book in the steady state",
    ]


def test_blocks_and_capacity_are_judged():
    assert [row["met"] for row in judge({"blocks": BLOCKS})] == [True, False, True]


def test_a_bench_that_was_not_run_is_not_judged():
    rows = judge({"kafka": KAFKA, "machine": {}})
    assert [(row["figure"], row["met"]) for row in rows] == [
        ("Kafka to Kafka, commands/s", True),
        ("Kafka to Kafka, share of the echo", True),
    ]


def test_what_must_stay_small_is_met_from_below():
    rest = {
        "orders_per_s": 1_499,
        "parallel": {"p50_ms": 12},
        "ratio_to_bare_p50": 2.6,
        "bare_double_round_trip": {"p50_ms": 3.0},
        "start_to_ready_s": 9.9,
        "memory_pss_mb": 1_501,
    }
    assert [row["met"] for row in judge({"rest": rest})] == [False, True, False, True, False]


def test_every_figure_has_a_name_of_its_own():
    assert len({target.figure for target in TARGETS}) == len(TARGETS)
