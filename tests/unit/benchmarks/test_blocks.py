"""The bench of blocks and capacity runs its own workload to the end and tells every figure."""

import pytest

from benchmarks.blocks import measure

pytest.importorskip("matching_engine.engine", reason="the compiled engine is not built")


def test_every_figure_is_there_and_belongs_to_the_venue_measured():
    figures = measure(nodes=4, orders=2, rounds=2)
    assert figures.pop("nodes") == 4
    assert set(figures) == {
        "limit_order_us",
        "block_without_a_trade_us",
        "block_with_24_trades_us",
        "capacity_of_72_hours_us",
        "capacity_in_limit_orders",
    }
    assert all(figure > 0 for figure in figures.values())
