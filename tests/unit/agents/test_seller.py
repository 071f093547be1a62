"""A seller against a venue: tiers side by side, prices that follow the market within the pace, and what is said."""

from dataclasses import replace

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.node.client import ApiKey, GatewayClient
from agents.node.market import OperatorAccount
from agents.node.offering import Capacity
from agents.node.policy import Policy
from agents.node.seller import Seller
from schemas.ids import contract_name, contract_start_s
from schemas.money import format_micros
from tests.fakes.venue import GATEWAY, MARKET_DATA, FakeVenue
from tests.unit.agents import test_policy

GRADE = "H100SXM80"
FIRM, INTERRUPTIBLE = f"{GRADE}.CNE.F", f"{GRADE}.CNE.I"
ALL = Capacity(8, 8)
NOW_MS = 1_795_365_000_000  # half past an hour


class Clock:
    def now_ms(self) -> int:
        return NOW_MS


def policy(**changes) -> Policy:
    return test_policy.policy(**{"periods_ahead": 3} | changes)


class Market(FakeVenue):
    """A venue with an index, and rivals' asks: the books show them beside the account's own."""

    def __init__(self, key: ApiKey) -> None:
        super().__init__(FIRM, key.private_key.public_key().public_bytes_raw().hex())
        self.also_listed = (INTERRUPTIBLE,)
        self.index: dict | None = None
        self.rivals: dict[int, str] = {}
        self.siblings: dict[int, str] = {}
        self.asked: list[str] = []
        self.is_blind = False

    def _show_market(self, request: httpx.Request, path: list[str]) -> httpx.Response:
        if path == ["products"]:
            return super()._show_market(request, path)
        self.asked.append(path[0])
        if self.is_blind:
            return httpx.Response(503, json={"code": "unavailable", "detail": "no"})
        match path:
            case ["index"]:
                return httpx.Response(200, json={"items": [self.index] if self.index else [], "seq": 1})
            case ["curve", product]:
                points = [{"contract": name} | self._best(name) for name in self._contracts(product)]
                return httpx.Response(200, json={"points": points, "seq": 1})
            case ["book", contract]:
                return httpx.Response(200, json={"asks": self._levels(contract, True), "seq": 1})
        raise AssertionError(f"market data has no {request.url.path}")

    def _trade(self, request: httpx.Request, path: list[str]) -> httpx.Response:
        if path == ["capacity", "levels"]:
            self._check_request(request)
            product = request.url.params["product"]
            own = [
                {"contract": name, "price": price, "qty": int(qty)}
                for name in self._contracts(product)
                for price, qty in self._levels(name, False)
            ]
            return httpx.Response(200, json={"asks": own, "seq": 1})
        return super()._trade(request, path)

    def _levels(self, contract: str, with_rivals: bool) -> list[list[str]]:
        levels: dict[str, int] = {}
        start_s = contract_start_s(contract)
        asks = [ask for order in self.orders.values() for ask in order["asks"] if ask["contract"] == contract]
        stands = [(ask["price"], ask["remaining_qty"]) for ask in asks]
        stands += [(self.siblings[start_s], 4)] if start_s in self.siblings else []
        stands += [(self.rivals[start_s], 2)] if with_rivals and start_s in self.rivals else []
        for price, qty in stands:
            levels[price] = levels.get(price, 0) + qty
        return [[price, str(qty)] for price, qty in sorted(levels.items(), key=lambda each: float(each[0]))]

    def _contracts(self, product: str) -> list[str]:
        contracts = {ask["contract"] for order in self.orders.values() for ask in order["asks"]}
        return sorted(contracts | {contract_name(product, start_s, self.period_s) for start_s in self.rivals})

    def _best(self, contract: str) -> dict:
        levels = self._levels(contract, True)
        return {"ask": levels[0][0], "ask_qty": int(levels[0][1])} if levels else {}

    def offered(self) -> list[tuple[str, int, float]]:
        """Returns (product, GPUs, price) of the asks in order of product and time."""
        asks = [
            (order["product"], ask["contract"], ask["remaining_qty"], float(ask["price"]))
            for order in self.orders.values()
            for ask in order["asks"]
        ]
        return [(product, gpus, price) for product, _, gpus, price in sorted(asks)]


@pytest.fixture
def key() -> ApiKey:
    return ApiKey("operator", Ed25519PrivateKey.generate())


@pytest.fixture
def market(key) -> Market:
    return Market(key)


@pytest.fixture
def seller(market, key) -> Seller:
    account = OperatorAccount(GatewayClient(market.client(), GATEWAY, MARKET_DATA, key), 0)
    made = Seller(account, Clock())
    made.node_id = "node-1"
    return made


def starts_of(market: Market) -> list[int]:
    return sorted({start_s for start_s, *_ in market.standing()})


def look_again(seller: Seller) -> None:
    """Makes the next balance look at the market, whatever the pace."""
    for seen in seller._prices._seen.values():
        seen.at = float("-inf")


def look_at_books_again(seller: Seller) -> None:
    """Makes the next balance look at all books, as it does after ten looks at the curve."""
    look_again(seller)
    for seen in seller._prices._seen.values():
        seen.books = {contract: replace(book, at=float("-inf")) for contract, book in seen.books.items()}


async def test_two_tiers_stand_side_by_side_and_an_edit_moves_gpus_without_ever_offering_more_than_there_are(
    seller, market
):
    firm = {"tier": "F", "gpus": 5}
    both = policy(offers=[firm, {"tier": "I", "price": {"floor": "0.50"}}])
    await seller.balance(both, GRADE, ALL)
    assert market.offered() == [(FIRM, 5, 1.0)] * 3 + [(INTERRUPTIBLE, 3, 0.5)] * 3
    moved = policy(offers=[firm | {"gpus": 2}, {"tier": "I", "price": {"floor": "0.50"}}])
    await seller.balance(moved, GRADE, ALL)
    assert market.offered() == [(INTERRUPTIBLE, 3, 0.5)] * 3
    await seller.balance(moved, GRADE, ALL)
    assert [gpus for _, gpus, _ in market.offered()] == [2] * 3 + [3] * 3 + [3] * 3
    await seller.balance(policy(tier="I"), GRADE, ALL)
    assert {product for product, *_ in market.offered()} == {INTERRUPTIBLE}


async def test_a_tier_that_the_venue_does_not_list_is_said_and_the_others_are_sold(seller, market):
    await seller.balance(policy(offers=[{"tier": "M"}, {"tier": "F"}]), GRADE, ALL)
    assert market.offered() == [(FIRM, 8, 1.0)] * 3
    assert seller.troubles() == {
        "product": f"node-1: the venue lists no {GRADE}.CNE.M: only the other tiers can be sold"
    }


async def test_an_order_may_end_by_itself_and_is_posted_again(seller, market):
    await seller.balance(policy(ttl_s=600), GRADE, ALL)
    assert [form["ttl_s"] for form in market.posted] == [600]
    market.orders.clear()
    await seller.balance(policy(ttl_s=600), GRADE, ALL)
    assert market.offered() == [(FIRM, 8, 1.0)] * 3


async def test_the_index_moves_prices_unless_it_is_stale_and_a_market_that_cannot_be_read_leaves_them(seller, market):
    by_index = policy(price={"floor": "1", "ask": "2", "index": {"percent": 10}})
    market.index = {"index": "3.00", "stale": True}
    await seller.balance(by_index, GRADE, ALL)
    assert market.offered() == [(FIRM, 8, 2.0)] * 3
    market.index["stale"] = False
    await seller.balance(by_index, GRADE, ALL)
    assert market.offered() == [(FIRM, 8, 2.0)] * 3, "the market is looked at once a minute"
    look_again(seller)
    await seller.balance(by_index, GRADE, ALL)
    assert market.offered() == [(FIRM, 8, 3.3)] * 3
    market.is_blind = True
    seller._prices._seen[FIRM].at -= by_index.price.pace.look_s
    await seller.balance(by_index, GRADE, ALL)
    assert market.offered() == [(FIRM, 8, 3.3)] * 3
    assert "the market of H100SXM80.CNE.F cannot be read, prices stay" in seller.troubles()[FIRM]
    look_again(seller)
    await seller.balance(by_index, GRADE, ALL)
    assert market.offered() == [(FIRM, 8, 2.0)] * 3, "what was seen long ago counts no more"


async def test_the_best_ask_of_others_is_undercut_by_a_tick_and_never_an_ask_of_the_account_s_own(seller, market):
    undercut = policy(price={"floor": "1", "ask": "2", "undercut": {}})
    await seller.balance(undercut, GRADE, ALL)
    first, second, third = starts_of(market)
    market.siblings = {first: "1.50", second: "1.600000"}
    market.rivals = {second: "1.600000", third: "0.90"}
    for _ in range(3):  # one look more for what the second one's own order changed, and nothing after it
        look_again(seller)
        await seller.balance(undercut, GRADE, ALL)
    assert [price for *_, price in market.offered()] == [2.0, 1.59, 1.0]
    repriced, asked = len(market.repriced), len(market.asked)
    look_again(seller)
    await seller.balance(undercut, GRADE, ALL)
    assert (len(market.repriced), market.asked[asked:]) == (repriced, ["curve"]), "no book is looked at again"
    market.rivals = {}
    look_at_books_again(seller)
    await seller.balance(undercut, GRADE, ALL)
    assert [price for *_, price in market.offered()] == [2.0, 2.0, 2.0]


async def test_a_market_that_jumps_about_reprices_within_the_pace_and_a_raised_floor_at_once(seller, market):
    pace = {"reprices_per_period": 2}
    for round_number in range(6):
        market.index = {"index": format_micros(3_000_000 + round_number * 500_000), "stale": False}
        look_again(seller)
        await seller.balance(policy(price={"floor": "1", "index": {}, "pace": pace}), GRADE, ALL)
    assert len(market.repriced) == 2
    assert seller.troubles() == {
        f"pace of {FIRM}": f"node-1: 1 orders of {FIRM} wait for their new price: 2 were repriced in this period"
    }
    await seller.balance(policy(price={"floor": "9", "index": {}, "pace": pace}), GRADE, ALL)
    assert market.offered() == [(FIRM, 8, 9.0)] * 3
    assert len(market.repriced) == 3


async def test_what_stands_further_ahead_than_an_edited_policy_looks_is_withdrawn(seller, market):
    await seller.balance(policy(), GRADE, ALL)
    await seller.balance(policy(periods_ahead=1), GRADE, ALL)
    await seller.balance(policy(periods_ahead=1), GRADE, ALL)
    assert market.offered() == [(FIRM, 8, 1.0)]
