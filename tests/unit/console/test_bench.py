"""The group `bench`: without a subcommand it runs every bench, prints the machine, each bench and the targets."""

import json

import pytest

from clients.cli.output import CommandError
from console.commands import bench
from console.main import build_app
from tests.unit.benchmarks.test_targets import BLOCKS, BOOK, COSTS, KAFKA

REST = {
    "start_to_ready_s": 8.0,
    "memory_pss_mb": 1_200,
    "one_connection": {"p50_ms": 4.0},
    "bare_double_round_trip": {"p50_ms": 2.0},
    "ratio_to_bare_p50": 2.0,
    "orders_per_s": 1_600,
    "parallel": {"p50_ms": 9.0},
}
REPORTS = {"burst_venue_us_per_report": 331, "lag_zero_after_burst_s": 2.5}


@pytest.fixture
def measured(monkeypatch) -> dict[str, list]:
    """Figures in place of the benches, which take minutes."""
    streams = [row | {"equal": True} for row in BOOK]
    monkeypatch.setattr(bench, "measure_book", lambda stream, rounds: streams)
    monkeypatch.setattr(bench, "measure_engine", lambda rounds: {"equal": True, "ns_per_command": 700})
    monkeypatch.setattr(bench, "measure_book_costs", lambda rounds: COSTS)
    monkeypatch.setattr(bench, "measure_blocks", lambda rounds: BLOCKS)
    monkeypatch.setattr(bench, "measure_kafka", lambda commands: KAFKA | {"machine": {}, "targets": {}})
    monkeypatch.setattr(bench, "measure_rest", lambda orders, connections: REST)
    monkeypatch.setattr(bench, "measure_reports", lambda nodes, gpus, rounds: REPORTS)
    monkeypatch.setattr(bench, "measure_proofs", lambda gpus: {"gpus_in_a_row": gpus})
    return {"streams": streams}


def run(*arguments: str) -> int:
    return build_app()(["bench", *arguments], result_action="return_value")


def test_without_a_subcommand_every_bench_is_run_and_held_against_its_target(measured, capsys):
    assert run("--json") == 0
    report = json.loads(capsys.readouterr().out)
    benches = ["book", "engine", "costs", "blocks", "kafka", "rest", "reports", "proofs"]
    assert list(report) == ["machine", "rounds", *benches, "targets"]
    assert [report[name] for name in ("costs", "kafka", "rest", "reports")] == [COSTS, KAFKA, REST, REPORTS]
    assert [row["figure"] for row in report["targets"] if not row["met"]] == [
        "order book, slowest stream, commands/s",
        "a resting order in the engine, bytes",
        "p99 of one command to the floor's",
        "allocations of the book in the steady state",
        "block over 24 hours with 24 trades, µs",
        "a node's report, µs of delivery, PostgreSQL and broker",
    ]


def test_a_person_reads_the_machine_every_bench_and_the_targets(measured, capsys):
    assert run() == 0
    shown = capsys.readouterr().out
    assert shown.startswith("processor")
    for line in ("Order book, in process", "Whole engine", "What single", "Matching process", "Orders over REST"):
        assert line in shown
    assert "one_connection.p50_ms          4.0" in shown
    assert shown.index("\nTargets\n") > shown.index("Orders over REST")


def test_a_wrong_result_is_exit_status_1_whatever_the_speed(measured):
    measured["streams"][0]["equal"] = False
    assert run("--json") == 1


def test_no_rounds_are_refused():
    with pytest.raises(CommandError, match="--rounds must be at least 1"):
        bench.everything(rounds=0)
