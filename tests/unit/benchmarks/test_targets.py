"""Targets: what is measured is held against its bound, and only where it was measured."""

from benchmarks.targets import TARGETS, judge

BOOK = [
    {"stream": "w1", "commands_per_s": 9_000_000, "floor_ns": 25.0},
    {"stream": "w3", "commands_per_s": 1_900_000, "floor_ns": 40.0},
]
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
