"""Whatever the log says, money and capacity are conserved, and the events depend on nothing but the log."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.random_log import Record
from tests.engine.small_world import SmallWorld, Vouchers
from tests.property.matching_engine.books_of_account import Auditor
from tests.property.matching_engine.logs import command_logs
from tests.scenarios.engines import ENGINES

SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def audit(engine: Any, log: list[Record]) -> None:
    """Holds the engine against a reader of its events after every record."""
    auditor = Auditor()
    for record in log:
        auditor.read(record[0], engine.apply([record]))
        auditor.check(engine)


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
@SLOW
@given(log=command_logs(worlds=(SmallWorld,)))
def test_money_capacity_and_the_chain_hold_after_every_record(engine_class, log: list[Record]):
    audit(engine_class(), log)


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
@SLOW
@given(log=command_logs(worlds=(Vouchers,)))
def test_vouchers_and_the_money_behind_them_are_conserved(engine_class, log: list[Record]):
    """Whatever is traded, delivered, corrected, resold, void or lapsed."""
    audit(engine_class(), log)


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
@SLOW
@given(log=command_logs(moves_max=80), cuts=st.sets(st.integers(0, 50), max_size=4))
def test_cutting_the_log_and_restoring_from_snapshots_changes_no_byte(engine_class, log: list[Record], cuts: set[int]):
    whole = engine_class()
    events = whole.apply(log)
    engine, pieces = engine_class(), []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(log)], strict=True):
        pieces += engine.apply(log[start:end])
        engine = engine_class.restore(engine.snapshot())
    assert pieces == events
    assert engine.snapshot() == whole.snapshot()
    assert (engine.balances(), engine.orders(), engine.positions()) == (
        whole.balances(),
        whole.orders(),
        whole.positions(),
    )


@pytest.mark.skipif("cython" not in ENGINES, reason="the compiled engine is not built: only the plain one was tested")
@SLOW
@given(log=command_logs())
def test_both_engines_say_the_same_to_the_byte(log: list[Record]):
    reference, fast = ENGINES["reference"](), ENGINES["cython"]()
    assert fast.apply(log) == reference.apply(log)
    assert fast.balances() == reference.balances()
    assert fast.orders() == reference.orders()
    assert fast.positions() == reference.positions()
    assert fast.balance_digest() == reference.balance_digest()
    assert fast.snapshot() == reference.snapshot()
