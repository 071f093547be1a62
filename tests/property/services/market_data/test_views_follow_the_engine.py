"""Whatever happens in the engine, the public's books are its books, and the deltas of a feed rebuild them."""

import random
from collections import Counter
from itertools import groupby
from typing import get_args

import pytest

from schemas.events import EVENT
from schemas.orders import (
    CancelAllAfter,
    CancelOrder,
    MassCancel,
    PlaceBatch,
    PlaceBlock,
    PlaceOrder,
    PostCapacity,
    ReplaceOrder,
    SelfTradePrevention,
)
from schemas.venue import LockHardware, NodeDown, NodesAlive, SetProductState
from services.market_data import packing
from services.market_data.books import checksum
from services.market_data.domain import Changes, Market
from services.market_data.rows import levels
from tests.scenarios.engines import ENGINES
from tests.scenarios.venue import PRODUCT, Venue, contract_of, gpu_uuid, hour_start_s

TRADERS = ("ann", "bob", "cho", "dee")
OPERATORS = {"n1": "op1", "n2": "op2", "n3": "op1"}
HOURS = range(1, 9)
PRICES = tuple(range(12_800_000, 12_900_000, 10_000))


class RandomMarket:
    """Orders, cancels, blocks, capacity, silence and time, drawn from one seed."""

    def __init__(self, engine, seed: int) -> None:
        self.venue, self.draw = Venue(engine), random.Random(seed)
        self.venue.define()
        self.venue.batch("admin", SetProductState(product=None, state="OPEN", reason="start"))
        for account in (*TRADERS, *set(OPERATORS.values())):
            self.venue.credit(account, 5_000_000_000)
        for node, owner in OPERATORS.items():
            self.venue.node(node, owner, 8)
        self.count = 0

    def step(self) -> None:
        self.count += 1
        draws = {"bid": 8, "ask": 8, "cancel": 4, "block": 2, "capacity": 2, "mass": 1, "time": 2, "node": 1, "sale": 1}
        draws |= {"replace": 4, "batch": 1, "timer": 1}
        kind = self.draw.choices(list(draws), list(draws.values()))[0]
        getattr(self, f"_{kind}")()

    def _ids(self) -> dict[str, str]:
        stp = self.draw.choice(get_args(SelfTradePrevention))
        return {"command_id": f"c{self.count}", "client_order_id": f"o{self.count}", "stp": stp}

    def _order(self, account, side, node) -> None:
        self.venue.send(self._drawn(account, side, node))

    def _drawn(self, account, side, node) -> PlaceOrder:
        draw = self.draw
        kind = "market" if side == "buy" and draw.random() < 0.2 else "limit"
        tif = "IOC" if kind == "market" else draw.choice(("GTG", "GTG", "GTG", "IOC", "FOK"))
        order = PlaceOrder(
            **self._ids(),
            account=account,
            contract=contract_of(draw.choice(HOURS)),
            side=side,
            kind=kind,
            qty=draw.randint(1, 6),
            price_micros=draw.choice(PRICES) if kind == "limit" else None,
            max_cost_micros=draw.randint(1, 80) * 1_000_000 if kind == "market" else None,
            tif=tif,
            post_only=tif == "GTG" and draw.random() < 0.1,
            node=node,
        )
        if tif != "GTG" or draw.random() < 0.5:
            return order
        end = {"tif": "GTD", "expires_ms": self.venue.now_ms + draw.choice((1, 900_000))} if draw.random() < 0.3 else {}
        return order.model_copy(update={"display_qty": draw.randint(1, 3), "qty": draw.randint(3, 6)} | end)

    def _replace(self) -> None:
        live = [order for order in self.venue.engine.orders() if order["kind"] == "limit"]
        if live:
            self.venue.send(self._changed(self.draw.choice(live)))

    def _changed(self, order) -> ReplaceOrder:
        named = {"order_id": order["id"], "client_order_id": None, "replace_id": None}
        terms = {"qty": self.draw.choice((None, 1, 2, 7)), "price_micros": self.draw.choice((None, *PRICES))}
        return ReplaceOrder(command_id=f"c{self.count}", account=order["account"], **named, **terms, expires_ms=None)

    def _batch(self) -> None:
        account = self.draw.choice(TRADERS)
        own = [order for order in self.venue.engine.orders() if (order["account"], order["kind"]) == (account, "limit")]
        members = (self._drawn(account, "buy", None), *(self._changed(order) for order in own[:3]))
        self.venue.send(PlaceBatch(command_id=f"b{self.count}", account=account, members=members))

    def _timer(self) -> None:
        fields = {"account": self.draw.choice(TRADERS), "session": "s", "timeout_ms": 900_000}
        self.venue.send(CancelAllAfter(command_id=f"c{self.count}", **fields))

    def _bid(self) -> None:
        self._order(self.draw.choice((*TRADERS, "op1")), "buy", None)

    def _ask(self) -> None:
        node = self.draw.choice(list(OPERATORS))
        self._order(OPERATORS[node], "sell", node)

    def _block(self) -> None:
        start, periods = self.draw.choice(HOURS), self.draw.randint(1, 3)
        qty = self.draw.randint(1, 6)
        block = PlaceBlock(
            **self._ids(),
            account=self.draw.choice(TRADERS),
            product=PRODUCT,
            start_s=hour_start_s(start),
            periods=periods,
            qty=qty,
            min_qty=self.draw.randint(1, qty),
            limit_price_micros=self.draw.choice(PRICES),
            max_cost_micros=None,
            tif=self.draw.choice(("GTG", "IOC", "FOK")),
            latest_s=hour_start_s(start + 2) if self.draw.random() < 0.3 else None,
        )
        self.venue.send(block)

    def _capacity(self) -> None:
        node, first = self.draw.choice(list(OPERATORS)), self.draw.choice(HOURS)
        ids = self._ids()
        del ids["stp"]
        self.venue.send(
            PostCapacity(
                **ids,
                account=OPERATORS[node],
                product=PRODUCT,
                node=node,
                gpus=self.draw.randint(1, 4),
                from_s=hour_start_s(first),
                to_s=hour_start_s(first + self.draw.randint(1, 3)),
                floor_price_micros=self.draw.choice(PRICES),
                floor_curve_micros=None,
            )
        )

    def _cancel(self) -> None:
        live = self.venue.engine.orders()
        if live:
            order = self.draw.choice(live)
            self.venue.send(
                CancelOrder(
                    command_id=f"c{self.count}", account=order["account"], order_id=order["id"], client_order_id=None
                )
            )

    def _mass(self) -> None:
        account = self.draw.choice(TRADERS)
        fields = {"account": account, "product": None, "contract": contract_of(self.draw.choice(HOURS)), "side": None}
        self.venue.send(MassCancel(command_id=f"c{self.count}", **fields))

    def _time(self) -> None:
        self.venue.now_ms += self.draw.choice((60_000, 600_000, 1_800_000))

    def _node(self) -> None:
        node = self.draw.choice(list(OPERATORS))
        self.venue.batch("delivery", NodeDown(node=node, reason="test"))
        self.venue.batch("delivery", NodesAlive(nodes=(node,), until_ms=self.venue.now_ms + 86_400_000))

    def _sale(self) -> None:
        node = self.draw.choice(list(OPERATORS))
        gpus = (gpu_uuid(node, self.draw.randrange(8)),)
        self.venue.batch("listings", LockHardware(listing_id=f"l{self.count}", account=OPERATORS[node], gpus=gpus))


class Follower:
    """A reader of the feed: it has only the deltas."""

    def __init__(self) -> None:
        self.books: dict[str, dict[str, dict[str, str]]] = {}
        self.seqs: Counter[str] = Counter()

    def take(self, changes: Changes) -> None:
        for change in changes.books:
            sym = change.contract.contract
            assert change.prev_seq == self.seqs[sym]
            self.seqs[sym] = changes.seq
            book = self.books.setdefault(sym, {"bids": {}, "asks": {}})
            for side, changed in (("bids", levels(change.bids)), ("asks", levels(change.asks))):
                for price, qty in changed:
                    book[side].pop(price, None) if qty == "0" else book[side].update({price: qty})
            assert self._checksum(book) == change.contract.book.checksum()

    def _checksum(self, book) -> int:
        asks = sorted(book["asks"].items(), key=lambda level: float(level[0]))[:10]
        bids = sorted(book["bids"].items(), key=lambda level: -float(level[0]))[:10]
        return checksum([*asks, *bids])


def engine_depth(engine) -> dict[tuple[str, str], dict[int, int]]:
    depth: dict[tuple[str, str], dict[int, int]] = {}
    for order in engine.orders():
        if order["contract"] is not None:
            side = depth.setdefault((order["contract"], order["side"]), {})
            side[order["price_micros"]] = side.get(order["price_micros"], 0) + order["shown"]
    return depth


def view_depth(market: Market) -> dict[tuple[str, str], dict[int, int]]:
    sides = {}
    for name, contract in market.contracts.items():
        for side, ladder in (("buy", contract.book.bids), ("sell", contract.book.asks)):
            if ladder.gpus:
                sides[name, side] = dict(ladder.gpus)
    return sides


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", range(6))
def test_the_books_are_the_engines_books_after_every_command(engine, seed):
    drawn = RandomMarket(ENGINES[engine](), seed)
    market, follower, taken = Market(), Follower(), 0
    seen: Counter[str] = Counter()
    for _ in range(320):
        drawn.step()
        events = [EVENT.validate_json(raw) for raw in drawn.venue.events[taken:]]
        taken += len(events)
        for _, command in groupby(events, key=lambda event: event.in_offset):
            command = list(command)
            seen.update(event.type for event in command)
            follower.take(market.apply(command))
        assert view_depth(market) == engine_depth(drawn.venue.engine)
    kinds = ("trade", "order_accepted", "order_canceled", "order_expired", "order_displayed", "order_replaced")
    assert min(seen[kind] for kind in kinds) > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_all_traded_quantity_is_in_the_candles_of_every_interval(engine):
    drawn = RandomMarket(ENGINES[engine](), seed=99)
    for _ in range(200):
        drawn.step()
    events = [EVENT.validate_json(raw) for raw in drawn.venue.events]
    market, candles = Market(), {}
    for _, command in groupby(events, key=lambda event: event.in_offset):
        candles |= market.apply(list(command)).candles
    traded = sum(event.qty for event in events if event.type == "trade")
    volumes = Counter()
    for (sym, interval, _), candle in candles.items():
        volumes[interval, sym == PRODUCT] += candle.qty
    assert traded > 0
    assert set(volumes.values()) == {traded}
    assert len(volumes) == 12


@pytest.mark.parametrize("seed", range(3))
def test_a_view_restored_after_any_command_goes_on_to_the_same_state(seed):
    drawn = RandomMarket(ENGINES["reference"](), seed=seed + 700)
    for _ in range(150):
        drawn.step()
    events = [EVENT.validate_json(raw) for raw in drawn.venue.events]
    commands = [list(command) for _, command in groupby(events, key=lambda event: event.in_offset)]
    straight, restored = Market(), Market()
    for command in commands:
        straight.apply(command)
        restored.apply(command)
        if drawn.draw.random() < 0.2:
            state = packing.pack(restored.state())
            assert state == packing.pack(straight.state())
            restored = Market()
            restored.restore(packing.unpack(state))
    assert packing.pack(restored.state()) == packing.pack(straight.state())
    assert view_depth(restored) == engine_depth(drawn.venue.engine)
