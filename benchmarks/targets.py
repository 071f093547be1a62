"""What the exchange is meant to reach (the figures of a machine with two cores), and how a report stands to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """One figure of a report, the bound it is held against, and the floor of the same run where it has one."""

    figure: str
    bench: str
    reached: Callable[[Any], float | None]
    bound: float
    at_least: bool
    floor: Callable[[Any], float | None] = lambda figures: None

    def judge(self, report: Report) -> dict[str, Any] | None:
        """Returns the row of a table; None where the report does not have this bench, or no floor beside it."""
        if self.bench not in report:
            return None
        reached, floor = self.reached(report[self.bench]), self.floor(report[self.bench])
        if reached is None:
            return None
        met = reached >= self.bound if self.at_least else reached <= self.bound
        sign = "≥" if self.at_least else "≤"
        return {
            "figure": self.figure,
            "reached": reached,
            "target": f"{sign} {self.bound:,}",
            "floor": "" if floor is None else floor,
            "met": met,
        }


def slowest_book(streams: list[Report]) -> int:
    return min(row["commands_per_s"] for row in streams)


def slowest_floor(streams: list[Report]) -> int | None:
    ns = [row["floor_ns"] for row in streams if "floor_ns" in row]
    return round(1e9 / max(ns)) if ns else None


def worst(figure: str) -> Callable[[list[Report]], float | None]:
    """The largest of a figure over the streams; None where there is no floor."""
    return lambda streams: max((row[figure] for row in streams if figure in row), default=None)


def cost(bench: str, figure: str) -> Callable[[Report], float]:
    return lambda costs: costs[bench][figure]


TARGETS = (
    Target("order book, slowest stream, commands/s", "book", slowest_book, 2_000_000, True, slowest_floor),
    Target("order book to floor, worst of the streams", "book", worst("ratio"), 1.6, False),
    Target("whole engine to floor, worst of the streams", "book", worst("exchange_least_ratio"), 5, False),
    Target(
        "JSON and hash link, ns per event",
        "book",
        worst("write_ns_per_event"),
        600,
        False,
        worst("hash_floor_ns_per_event"),
    ),
    Target("an empty book, bytes", "costs", cost("memory", "empty_book_bytes"), 1_000, False),
    Target("a resting order in the book, bytes", "costs", cost("memory", "order_in_book_bytes"), 100, False),
    Target("a resting order in the engine, bytes", "costs", cost("memory", "order_in_engine_bytes"), 256, False),
    Target("10,000 books to one of their size", "costs", cost("many_books", "ratio"), 1.5, False),
    Target("growth to 1,000,000 resting, to the floor's", "costs", cost("growth", "ratio"), 1.2, False),
    Target(
        "p99 of one command to the floor's",
        "costs",
        cost("latency", "ratio"),
        1.5,
        False,
        lambda costs: costs["latency"]["floor_ns"]["p99"],
    ),
    Target(
        "one command per call to the floor's",
        "costs",
        cost("one_call", "ratio"),
        1.6,
        False,
        cost("one_call", "floor_ns"),
    ),
    Target("cancel in a level of 10,000", "costs", cost("shapes", "deep_cancel_ratio"), 3, False),
    Target("sweep of 10,000 orders, per order", "costs", cost("shapes", "sweep_ratio"), 3, False),
    Target("search over an empty price range", "costs", cost("shapes", "empty_range_ratio"), 3, False),
    Target("allocations of the book in the steady state", "costs", cost("allocations", "book"), 0, False),
    Target("block over 24 hours without a trade, µs", "blocks", lambda f: f["block_without_a_trade_us"], 100, False),
    Target("block over 24 hours with 24 trades, µs", "blocks", lambda f: f["block_with_24_trades_us"], 100, False),
    Target("capacity of 72 hours, in limit orders", "blocks", lambda f: f["capacity_in_limit_orders"], 72, False),
    Target(
        "Kafka to Kafka, commands/s", "kafka", lambda f: f["commands_per_s"], 120_000, True, lambda f: f["echo_per_s"]
    ),
    Target("Kafka to Kafka, share of the echo", "kafka", lambda f: f["ratio"], 0.35, True),
    Target("REST, orders/s", "rest", lambda f: f["orders_per_s"], 1_500, True),
    Target("REST, p50 of all connections, ms", "rest", lambda f: f["parallel"]["p50_ms"], 12, False),
    Target(
        "REST, one connection, p50 to bare round trips",
        "rest",
        lambda f: f["ratio_to_bare_p50"],
        2.5,
        False,
        lambda f: f["bare_double_round_trip"]["p50_ms"],
    ),
    Target(
        "a node's report, µs of delivery, PostgreSQL and broker",
        "reports",
        lambda f: f["burst_venue_us_per_report"],
        330,
        False,
    ),
    Target("no lag again after a tenfold burst, s", "reports", lambda f: f["lag_zero_after_burst_s"], 120, False),
    Target("start to trading, s", "rest", lambda f: f["start_to_ready_s"], 10, False),
    Target("all processes together, MB (PSS)", "rest", lambda f: f["memory_pss_mb"], 1_500, False),
)


def judge(report: Report) -> list[dict[str, Any]]:
    """Returns a row for each target whose bench the report has."""
    return [row for target in TARGETS if (row := target.judge(report)) is not None]
