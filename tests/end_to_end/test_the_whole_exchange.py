"""From nothing to a paid bill: an operator's agent sells a period, a trader buys it, a seller parts with used hardware,
a watcher sees it happen, and the books prove it.

CI tier (`slow`), a minute: an exchange of its own; `tests/delivery` holds the same path to the bill in the default.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clients import trading
from clients.actors import Actor, Registry
from clients.http import result_of
from console.demo import hardware
from console.demo.checks import replay, run_checks
from console.demo.sites import AgentSite, Sites
from console.demo.story import Story
from console.demo.watching import Watcher
from infra.exchange import RunningExchange
from infra.reference.products import Timing
from schemas.money import parse_micros
from tests.fixtures.exchange import open_market

PERIOD_S = 10
PRODUCT, PRICE, QTY = "H100SXM80.CNE.F", "12.84", 2
PRICE_MICROS = 12_840_000
MONEY = "1000.00"
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Venue:
    """A running exchange, its administrator, and the two agents over the stand-in NVML."""

    exchange: RunningExchange
    registry: Registry
    sites: Sites
    lessor: AgentSite
    seller: AgentSite


@pytest.fixture
def venue(servers_folder: Path) -> Iterator[Venue]:
    with open_market(servers_folder / "end-to-end", Timing.sandbox(PERIOD_S)) as (exchange, registry, sites):
        operator = registry.open_account("operator", "operate", CNY="1000.00")
        policy = {"hub": "CNE", "periods_ahead": 12, "price": {"floor": PRICE}}
        lessor = sites.start_agent(operator, "lessor", policy, gpus=QTY)
        owner = registry.open_account("owner", "operate", "sell_hw", CNY="1000.00")
        policy = {"hub": "CNS", "periods_ahead": 12, "reserve_gpus": 2, "price": {"floor": PRICE}}
        yield Venue(exchange, registry, sites, lessor, sites.start_agent(owner, "owner", policy, gpus=2))


def wait_for(what: str, answer: Callable[[], Any], within_s: float = 60) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := answer()):
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(0.1)
    return found


def offered_contract(trader: Actor) -> str | None:
    """The first contract that the agent offers whole and whose gate leaves time to trade."""
    for period in trading.open_periods(trader, PRODUCT, gate_in_s=3):
        if trading.book_of(trader, period.contract)["asks"] == [[PRICE, str(QTY)]]:
            return period.contract
    return None


def sell_hardware(venue: Venue) -> dict[str, Any]:
    """The owner's two GPUs are inspected, listed, bought, shipped, accepted."""
    story, buyer = Story(to_stderr=True), venue.registry.open_account("lab", "trade", CNY="400000.00")
    wait_for("the owner's node to be active", lambda: state_of(venue, venue.seller) == "active")
    listing = hardware.list_hardware(venue.seller.operator, venue.sites.inspect(venue.seller), story)
    for actor, step in ((buyer, "buy"), (venue.seller.operator, "ship"), (buyer, "receive"), (buyer, "accept")):
        form = {"carrier": "SF Express", "tracking": "SF1"} if step == "ship" else None
        hardware.step(actor, listing["listing_id"], step, form)
        if step == "buy":
            hardware.wait_state(buyer, listing["listing_id"], "FUNDED", story)
    return hardware.wait_state(buyer, listing["listing_id"], "RELEASED", story)


def state_of(venue: Venue, site: AgentSite) -> str | None:
    nodes = result_of(venue.registry.admin.delivery.get("/v1/nodes"))["items"]
    return next((node["state"] for node in nodes if node["node"] == site.node_id), None)


def receipt_of(trader: Actor) -> dict[str, Any] | None:
    items = result_of(trader.delivery.get("/v1/receipts"))["items"]
    return items[0] if items else None


def test_a_period_is_sold_delivered_and_paid_hardware_changes_hands_and_the_books_prove_it(venue: Venue):
    """Holds invariants 1, 2, 3, 5 and 6 from outside."""
    trader = venue.registry.open_account("trader", "trade", CNY=MONEY)
    contract = wait_for("an ask of the agent", lambda: offered_contract(trader))
    watcher = Watcher(venue.exchange.addresses["market_data"], contract, f"{PERIOD_S}s")
    watcher.start()
    assert watcher.subscribed.wait(10)
    order = trading.place(trader, "first", contract=contract, side="buy", qty=QTY, price="13.00")["order"]
    assert (order["status"], order["filled_qty"]) == ("filled", QTY)
    sold = sell_hardware(venue)
    receipt = wait_for("the receipt", lambda: receipt_of(trader), PERIOD_S * 6)
    watcher.stop()

    contracted = QTY * PERIOD_S
    paid = PRICE_MICROS * contracted // 3_600
    told = ("contract", "contracted_gpu_s", "delivered_gpu_s", "paid_micros", "damages_micros")
    assert [receipt[name] for name in told] == [contract, contracted, contracted, paid, 0]
    assert (sold["state"], sold["price"]) == ("RELEASED", hardware.PRICE_CNY)
    (trade,) = watcher.trades
    assert (watcher.faults, trade["price"], trade["qty"]) == ([], PRICE, str(QTY))
    assert result_of(trader.market_data.get("/v1/trades", params={"sym": contract}))["items"] == [trade]
    (position,) = trading.positions_of(trader)
    assert (position["contract"], position["price"], position["qty"]) == (contract, PRICE, QTY)
    (balance,) = result_of(trader.gateway.get("/v1/balances"))["items"]
    whole = parse_micros(balance["available"]) + parse_micros(balance["held"])
    assert whole == parse_micros(MONEY) - paid

    replayed = replay(venue.exchange.environment)
    ledger = venue.registry.admin.ledger
    wait_for("the ledger", lambda: result_of(ledger.get("/v1/ledger/trial-balance"))["seq"] >= replayed["seq"])
    checks = run_checks(venue.registry.admin, replayed, result_of(ledger.get("/v1/ledger/trial-balance")))
    assert {check.name: check.held for check in checks} == dict.fromkeys((check.name for check in checks), True)
