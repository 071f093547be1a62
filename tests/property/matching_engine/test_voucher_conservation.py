"""Vouchers and budgets are conserved, whatever is traded, delivered, corrected, resold, void or lapsed."""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.orders import PlaceOrder
from schemas.venue import SettleDisputed, SettlePosition, Tick, VoidContract
from tests.property.matching_engine.books_of_account import Auditor
from tests.property.matching_engine.streams import (
    ACCOUNTS,
    DIGEST,
    HOUR_MS,
    NODES,
    PRICES,
    Log,
    move_vouchers,
    open_venue,
)
from tests.scenarios.engines import ENGINES
from tests.scenarios.venue import MIDNIGHT_MS, PRODUCT, contract_of

SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def order(log: Log, side: str, node: str | None = None, **changes) -> None:
    """An order for one of the next two hours; a sell without a node resells."""
    rng, hour = log.rng, (log.now_ms - MIDNIGHT_MS) // HOUR_MS + log.rng.choice([1, 2])
    terms = {"contract": contract_of(hour, PRODUCT), "side": side, "kind": "limit", "qty": rng.randrange(1, 4)}
    terms |= {"price_micros": rng.choice(PRICES), "max_cost_micros": None, "tif": "GTG", "post_only": False}
    account = NODES[node][0] if node else rng.choice(ACCOUNTS)
    log.append(PlaceOrder(**log.ids(), account=account, node=node, stp="cancel_oldest", **terms | changes))


def settle(log: Log) -> None:
    """Most of the last positions, first or once more, on any amount of delivery."""
    commands = []
    for position in range(1, 30):
        delivered = log.rng.choice([0, 1, 1799, 3600, 7200, 10_800, log.rng.randrange(10_801)])
        meter = {"excused_gpu_s": 0, "delivered_gpu_s": delivered, "used_gpu_s": delivered, "noticed": False}
        revision = log.rng.choice([1, 1, 2, 3, 4])
        meter |= {"recalled_gpus": 0, "meter_digest": DIGEST}
        if log.one_in(3):
            disputed = log.rng.choice([0, 1, 1800, log.rng.randrange(3601)])
            meter |= {"disputed_gpu_s": disputed, "disputed_used_gpu_s": disputed}
            commands.append(SettleDisputed(position_id=position, revision=revision, **meter))
        else:
            commands.append(SettlePosition(position_id=position, revision=revision, **meter))
    log.batch("delivery", *commands)


def move(log: Log) -> None:
    rng = log.rng
    kind = rng.choices(["ask", "bid", "bid with vouchers", "resell", "time", "settle", "issue", "void"],
                       [20, 5, 30, 8, 14, 14, 6, 1])[0]  # fmt: skip
    if kind == "ask":
        order(log, "sell", rng.choice(["n1", "n2", "n4"]))
    elif kind == "bid":
        order(log, "buy")
    elif kind == "bid with vouchers":
        order(log, "buy", use_vouchers=True, tif=rng.choice(["IOC", "IOC", "FOK"]))
    elif kind == "resell":
        order(log, "sell")
    elif kind == "settle":
        settle(log)
    elif kind == "issue":
        move_vouchers(log)
    elif kind == "void":
        hour = (log.now_ms - MIDNIGHT_MS) // HOUR_MS - rng.randrange(2)
        log.batch("admin", VoidContract(contract=contract_of(hour), reason="meter_lost"))
    else:
        log.now_ms += rng.choice([60_000, HOUR_MS // 2, HOUR_MS])
        log.append(Tick())


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
@SLOW
@given(seed=st.integers(0, 2**64 - 1), fee_bps=st.sampled_from([0, 21, 333]), moves=st.integers(40, 160))
def test_vouchers_and_the_money_behind_them_are_conserved(engine_class, seed: int, fee_bps: int, moves: int):
    log, engine, auditor = open_venue(fee_bps, 100), engine_class(), Auditor()
    log.rng = Random(seed)
    for _ in range(moves):
        move(log)
    for record in log.records:
        auditor.read(record[0], engine.apply([record]))
        auditor.check(engine)
