"""The shopper rents at random, never above its budget, and only what one lot's next periods all offer."""

import json
import subprocess
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

from clients.cli.shopper import proof_script
from clients.shopper import Block, Taste, choose, spent, visit_ms
from schemas.market_data import CurvePoint

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PRODUCT = "H100SXM80.CNE.F"


def product(name: str = PRODUCT, **changes: object) -> dict:
    return {"product": name, "currency": "CNY", "lot": 1, "period_s": 3600, "state": "OPEN"} | changes


def point(hour: int, ask: str | None, qty: int = 4, state: str = "OPEN") -> dict:
    """A point as market data's answer has it."""
    start = f"2026-11-22T{hour:02d}:00:00.000Z"
    offer = {"ask": ask, "ask_qty": str(qty)} if ask else {}
    point = CurvePoint(contract=f"{PRODUCT}-261122{hour:02d}0000", start=start, state=state, **offer)
    return json.loads(point.canonical())


def drawn(curves: list, taste: Taste, left: str, times: int = 200) -> Counter:
    draw = Random(1)
    return Counter(choose(curves, taste, Decimal(left), draw) for _ in range(times))


def block(hour: int, periods: int, limit: str, cost: str, qty: int = 1, name: str = PRODUCT) -> Block:
    return Block(name, f"2026-11-22T{hour:02d}:00:00.000Z", periods, qty, limit, Decimal(cost))


def test_every_start_that_the_budget_pays_is_drawn_and_nothing_else():
    points = [point(13, "10.00"), point(14, "12.00"), point(15, None), point(16, "99.00"), point(18, "11.00")]
    found = drawn([(product(), points)], Taste("CNY", Decimal(50), periods_max=2), "22.00")
    assert found.keys() == {
        block(13, 1, "10.00", "10"),
        block(13, 2, "12.00", "22"),
        block(14, 1, "12.00", "12"),
        block(18, 1, "11.00", "11"),
    }


def test_a_whole_node_is_one_lot_and_a_gap_of_a_period_ends_a_block():
    points = [point(13, "1.00", qty=8), point(15, "1.00", qty=8), point(16, "1.00", qty=7)]
    found = drawn([(product(lot=8), points)], Taste("CNY", Decimal(50), periods_max=3), "8.00")
    assert found.keys() == {block(13, 1, "1.00", "8", qty=8), block(15, 1, "1.00", "8", qty=8)}


def test_other_currencies_closed_products_closed_gates_and_products_not_named_are_left_alone():
    points, taste = [point(13, "1.00")], Taste("CNY", Decimal(50), products=frozenset({PRODUCT}))
    curves = [
        (product(currency="USD"), points),
        (product(state="HALTED"), points),
        (product("A100SXM80.CNE.F"), points),
        (product(), [point(13, "1.00", state="LOCKED")]),
    ]
    assert drawn(curves, taste, "50.00") == {None: 200}


def test_the_budget_is_what_the_last_24_hours_have_left():
    def position(opened: str, escrow: str, **changes: object) -> dict:
        return {"opened": opened, "escrow": escrow, "role": "buyer", "currency": "CNY", "state": "OPEN"} | changes

    positions = [
        position("2026-11-22T11:00:00.000000Z", "12.50"),
        position("2026-11-22T10:00:00.000000Z", "3.00", state="SETTLED_FINAL"),
        position("2026-11-22T09:00:00.000000Z", "7.00", state="ENDED"),
        position("2026-11-22T08:00:00.000000Z", "7.00", role="operator"),
        position("2026-11-22T07:00:00.000000Z", "7.00", currency="USD"),
        position("2026-11-21T12:00:00.000000Z", "100.00"),
    ]
    assert spent(positions, "CNY", NOW) == Decimal("15.50")


def test_a_visit_comes_at_any_time_of_the_hour_but_its_last_quarter_and_never_before_it():
    draw = Random(1)
    times = [visit_ms(1_000_000, 1_000_400, draw) for _ in range(5_000)]
    assert set(times) == set(range(1_000_000, 1_000_300))


def test_what_runs_inside_has_the_key_in_a_file_for_as_long_as_the_proof_takes(tmp_path):
    seen, agent = tmp_path / "seen", tmp_path / "hourbook-agent"
    agent.write_text(f'#!/bin/sh\necho "$@" > {seen}\nstat -c %a "$6" >> {seen}\ncat "$6" >> {seen}\nexit 3\n')
    agent.chmod(0o755)
    script = proof_script("lease-7", "ab" * 32, "http://127.0.0.1:18082")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    done = subprocess.run(["sh", "-c", script], env=environment, check=False)
    words, mode, key = seen.read_text().splitlines()
    file = words.split()[5]
    assert (done.returncode, mode, key) == (3, "600", "ab" * 32)
    assert words == f"meter --prove --lease lease-7 --key {file} --url http://127.0.0.1:18082"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hourbook-agent", "seen"]
