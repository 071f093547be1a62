"""Whatever the log says, money and capacity are conserved, and the events depend on nothing but the log."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.property.matching_engine.books_of_account import Auditor
from tests.property.matching_engine.streams import Record, command_logs
from tests.scenarios.engines import ENGINES

SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
@SLOW
@given(log=command_logs())
def test_money_capacity_and_the_chain_hold_after_every_record(engine_class, log: list[Record]):
    engine, auditor = engine_class(), Auditor()
    for record in log:
        auditor.read(record[0], engine.apply([record]))
        auditor.check(engine)


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


@pytest.mark.skipif("cython" not in ENGINES, reason="the Cython engine is not built: only the reference was tested")
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
