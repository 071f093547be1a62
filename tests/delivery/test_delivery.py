"""A period is sold, delivered and billed: in full by a sound node, in part by one that loses a GPU on the way."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from clients import trading
from clients.actors import Actor
from clients.http import ApiError, result_of
from infra.fake_nvml.scenario import lose_gpu
from matching_engine.settlement import settle
from schemas.money import format_micros
from tests.delivery.conftest import PERIOD_S, PRODUCT, TIMING, Market

QTY = 8
LOST_GPU = 5


def wait_for(what: str, answer: Callable[[], Any], within_s: float) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := answer()):
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(0.2)
    return found


def sleep_until(moment: datetime) -> None:
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


def offered_period(market: Market) -> trading.Period | None:
    """The first period that both nodes offer whole, with time left before its gate."""
    for period in trading.open_periods(market.buyers["ann"], PRODUCT, gate_in_s=6):
        asks = trading.book_of(market.buyers["ann"], period.contract)["asks"]
        if sum(int(qty) for _, qty in asks) == 2 * QTY:
            return period
    return None


@pytest.fixture(scope="module")
def delivered(market: Market) -> dict[str, dict[str, Any]]:
    """Both buyers' receipts after one period: ann's on the sound node, ben's on the one that loses a GPU half-way."""
    period = wait_for("asks of both agents", lambda: offered_period(market), 120)
    for name in ("ann", "ben"):
        order = {"contract": period.contract, "side": "buy", "qty": QTY, "price": "12.60"}
        assert trading.place(market.buyers[name], f"{name}-1", **order)["order"]["status"] == "filled"
    sleep_until(period.start + (period.end - period.start) / 2)
    lose_gpu(market.sites["faulty"].scenario, LOST_GPU)
    sleep_until(period.end)
    receipts = {}
    for name, buyer in market.buyers.items():
        found = wait_for("a receipt", lambda: result_of(buyer.delivery.get("/v1/receipts"))["items"], 90)  # noqa: B023
        assert len(found) == 1
        receipts[name] = found[0]
    return receipts


def outcome_of(receipt: dict[str, Any]) -> Any:
    bond_micros = QTY * -(-receipt["price_micros"] * PERIOD_S * 500 // (3_600 * 1_000))
    return settle(
        q=QTY,
        T=PERIOD_S,
        P=receipt["price_micros"],
        I=receipt["index_micros"],
        E=receipt["excused_gpu_s"],
        r=1000,
        hi=990,
        lo=800,
        bond=bond_micros,
        fee_bps=100,
        D=receipt["delivered_gpu_s"],
        U=receipt["used_gpu_s"],
    )


def test_a_sound_node_delivers_every_gpu_second_and_is_paid_in_full(delivered):
    receipt = delivered["ann"]
    assert (receipt["delivered_gpu_s"], receipt["contracted_gpu_s"]) == (QTY * PERIOD_S, QTY * PERIOD_S)
    assert (receipt["paid_micros"], receipt["damages_micros"]) == (12_500_000 * QTY * PERIOD_S // 3_600, 0)


def test_a_gpu_lost_half_way_is_not_paid_from_then_on(delivered):
    receipt = delivered["ben"]
    sound = (QTY - 1) * PERIOD_S
    assert sound <= receipt["delivered_gpu_s"] < sound + PERIOD_S * 0.8
    assert receipt["damages_micros"] > 0


@pytest.mark.parametrize("name", ["ann", "ben"])
def test_every_bill_is_the_settlement_function_on_what_was_metered(delivered, name):
    """Holds invariant 6."""
    receipt = delivered[name]
    outcome = outcome_of(receipt)
    amounts = ("paid_micros", "damages_micros", "fee_micros", "operator_micros")
    assert tuple(receipt[each] for each in amounts) == (outcome.gross, outcome.ld, outcome.fee, outcome.operator)


def test_the_meter_record_can_be_shown_and_names_the_lost_gpu(market, delivered):
    receipt = delivered["ben"]
    record = result_of(market.buyers["ben"].delivery.get(f"/v1/positions/{receipt['position_id']}/meter"))
    assert record["meter_digest"] == receipt["meter_digest"]
    missing = {(each["gpu"], each["reason"]) for each in record["outcome"]["intervals"] if not each["conforming"]}
    assert {reason for _, reason in missing} == {"gpu_lost"}
    assert len({gpu for gpu, _ in missing}) == 1


def test_receipts_and_access_are_for_the_parties_alone(market, delivered):
    position_id = delivered["ben"]["position_id"]
    assert status_of(market.buyers["ben"], f"/v1/receipts/{position_id}") == 200
    assert status_of(market.sites["faulty"].operator, f"/v1/receipts/{position_id}") == 200
    assert status_of(market.buyers["ann"], f"/v1/receipts/{position_id}") in (403, 404)
    assert status_of(market.buyers["ann"], f"/v1/positions/{position_id}/access") in (403, 404)


def status_of(actor: Actor, path: str) -> int:
    try:
        result_of(actor.delivery.get(path))
    except ApiError as refusal:
        return refusal.status
    return 200


def test_a_node_without_all_its_gpus_offers_fewer(market, delivered):
    def asks_of_both() -> int:
        period = trading.open_periods(market.buyers["ann"], PRODUCT, gate_in_s=3)[1]
        asks = trading.book_of(market.buyers["ann"], period.contract)["asks"]
        return {price: int(qty) for price, qty in asks} == {"12.50": QTY, "12.60": QTY - 1}

    wait_for("seven GPUs of the faulty node", asks_of_both, 60)


def fleet(market: Market, label: str, *arguments: str) -> dict[str, Any]:
    """What `hourbook fleet …` prints for an operator."""
    operator, keys = market.sites[label].operator, market.exchange.data / "keys"
    shutil.copy(operator.key_file, keys)
    command = [sys.executable, "-m", "console", "fleet", *arguments, "--key", operator.credentials.key_id, "--json"]
    environment = os.environ | {"HOURBOOK_DATA": str(market.exchange.data)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_an_operator_sees_his_own_nodes_with_what_they_offer_earn_and_lack(market, delivered):
    shown = {label: fleet(market, label, "status") for label in ("sound", "faulty")}
    (sound,), (faulty,) = (each["nodes"] for each in shown.values())
    assert (sound["state"], sound["gpus"], sound["fit"], sound["trouble"]) == ("active", QTY, QTY, "")
    assert (faulty["fit"], faulty["trouble"]) == (QTY - 1, f"1 of {QTY} GPUs not fit")
    assert sound["offered"] > 0
    assert sound["settled"] == 1
    assert sound["earned"] == f"{format_micros(outcome_of(delivered['ann']).operator)} CNY"
    assert (shown["sound"]["sums"]["nodes"], shown["sound"]["sums"]["troubles"]) == (1, 0)
    assert fleet(market, "sound", "waves") == {"waves": [[sound["node"]]], "later": {}}


def test_money_is_back_where_it_belongs_once_all_is_final(market, delivered):
    """Holds invariant 1 and 3: what the buyers paid is what the operators and the venue have."""
    time.sleep(TIMING.final_after_s)
    for name, buyer in market.buyers.items():
        balance = wait_for("nothing to be held", lambda: released(buyer), 30)  # noqa: B023
        outcome = outcome_of(delivered[name])
        assert balance["available"] == format_micros(1_000_000_000 + outcome.buyer)


def released(actor: Actor) -> dict[str, Any] | None:
    (balance,) = result_of(actor.gateway.get("/v1/balances"))["items"]
    return balance if balance["held"] == "0.00" else None
