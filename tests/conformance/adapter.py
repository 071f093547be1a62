"""Our engine behind the NDJSON protocol of tracebook-conformance: events in, what the engine said and holds out.

Run as a program it speaks on stdin and stdout. Where their market and ours differ by rule, the adapter translates:
- A quantity of 1 is 128 lots, since theirs are fractions; one that is no whole number of lots ends the run.
- Every owner has money without end, and a node whose GPUs never run out, since our asks are backed by nodes.
- Without self-trade prevention an owner buys with one account and sells with another: ours is never off.
- Prices are rounded to the tick, which our engine would refuse to do.
- A market sell is an immediate limit sell at one tick: our asks from nodes name a price.
- Their replace always loses its place; ours does not where only the quantity falls, so that one is a cancel and a new
  order. Their reduce is that replace of ours, their clear a mass cancel of everyone.
- Their ids are free again once an order is over, ours at the gate: a client's id counts the order's lives.
"""

import json
import sys
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from tracebook.conformance.model import (
    BookSnapshot,
    BookState,
    ConformanceConfig,
    EngineMetadata,
    Observation,
    Outcome,
    RestingOrder,
    TradeFill,
    canonical_decimal,
)
from tracebook.conformance.protocol import serve_stdio
from tracebook.core.order import OrderSide, OrderType, SelfTradePolicy
from tracebook.events import MarketEvent

from matching_engine import ENGINE_NAME, Engine
from schemas.orders import CancelOrder, MassCancel, PlaceOrder, ReplaceOrder
from tests.scenarios.venue import Venue, contract_of

LOTS = 128
TICK_MICROS = 10_000
MONEY_MICROS = 10**15
COST_MAX_MICROS = 10**13
FIRST_HOUR = 2
GPUS_SPARE = 768
STP = {SelfTradePolicy.CANCEL_INCOMING: "cancel_newest", SelfTradePolicy.CANCEL_RESTING: "cancel_oldest"}
TIFS = {OrderType.IOC: "IOC", OrderType.FOK: "FOK", OrderType.MARKET: "IOC"}
REASONS = {
    "unknown_order": "ORDER_NOT_ACTIVE",
    "order_closed": "ORDER_NOT_ACTIVE",
    "client_order_id_conflict": "DUPLICATE_ORDER_ID",
    "order_duplicate": "DUPLICATE_ORDER_ID",
    "malformed": "INVALID_ORDER",
    "bad_quantity": "INVALID_ORDER",
}
Key = tuple[str, int]


class Adapter:
    """One engine with a venue around it, and their names for its orders."""

    metadata = EngineMetadata("hourbook", ENGINE_NAME, "Cython" if ENGINE_NAME == "cython" else "Python")

    def __init__(self, config: ConformanceConfig, engine_class: type = Engine):
        if config.matching_algorithm != "fifo" or config.tick_size != 0.01:
            raise ValueError("our books are price, then time, and their tick here is 0.01")
        self.policy = config.self_trade_policy
        self.venue = Venue(engine_class())
        self.venue.define()
        self.hours: dict[str, int] = {}
        self.gpus: dict[str, int] = {}
        self.nodes: dict[str, str] = {}
        self.keys: dict[int, Key] = {}
        self.names: dict[int, int] = {}
        self.owners: dict[int, int] = {}
        self.lives: dict[Key, int] = {}

    # -- the protocol

    def apply(self, event: MarketEvent, index: int) -> Observation:
        """One of their events; what the engine's own events say became of it."""
        said = getattr(self, event.op)(event)
        self.forget_dead(event)
        state = self.snapshot()
        trades = tuple(self.fill(event.symbol, each) for each in said if each["type"] == "trade")
        return Observation(index, outcome(said), trades, state.digest(), state.order_count)

    def snapshot(self) -> BookState:
        """The engine's books in the order in which they would trade."""
        return BookState(
            tuple(
                BookSnapshot(symbol, self.side(symbol, "buy"), self.side(symbol, "sell"))
                for symbol in sorted(self.hours)
            )
        )

    def close(self) -> None:
        """Nothing is open."""

    # -- their events as our commands

    def new(self, event: MarketEvent) -> list[dict]:
        self.hours.setdefault(event.symbol, FIRST_HOUR + len(self.hours))
        account = self.account(event.owner, event.side)
        qty = lots(event.quantity)
        buys, at_market = event.side == OrderSide.BUY, event.order_type == OrderType.MARKET
        if not buys:
            self.offer(account, self.contract(event.symbol), qty)
        price_micros = TICK_MICROS if at_market else price_of(event.price)
        order = PlaceOrder.model_construct(
            command_id=self.command_id(),
            account=account,
            client_order_id=self.client_id((event.symbol, event.order_id)),
            contract=self.contract(event.symbol),
            side="buy" if buys else "sell",
            kind="market" if at_market and buys else "limit",
            qty=qty,
            price_micros=None if at_market and buys else price_micros,
            max_cost_micros=COST_MAX_MICROS if at_market and buys else None,
            tif=TIFS.get(event.order_type, "GTG"),
            post_only=False,
            node=None if buys else self.nodes[account],
            stp=STP.get(self.policy, "cancel_newest"),
        )
        said = self.venue.send(order)
        for each in said:
            if each["type"] == "order_accepted":
                self.keys[each["order_id"]] = (event.symbol, event.order_id)
                self.names[each["order_id"]] = event.order_id
                self.owners[each["order_id"]] = event.owner
        return said

    def cancel(self, event: MarketEvent) -> list[dict]:
        order = self.live(event)
        return self.venue.send(
            CancelOrder(
                command_id=self.command_id(),
                account=order["account"] if order else self.account(0, OrderSide.BUY),
                order_id=order["id"] if order else None,
                client_order_id=None if order else self.client_id((event.symbol, event.order_id)),
            )
        )

    def reduce(self, event: MarketEvent) -> list[dict]:
        order, qty = self.live(event), lots(event.quantity)
        if order is not None and order["left"] == qty:
            return self.cancel(event)
        return self.amend(event, order, None if order is None else order["qty"] - qty, None)

    def replace(self, event: MarketEvent) -> list[dict]:
        order = self.live(event)
        if order is None:
            return self.amend(event, None, None, TICK_MICROS)
        price_micros = order["price_micros"] if event.price is None else price_of(event.price)
        left = order["left"] if event.quantity is None else lots(event.quantity)
        if price_micros == order["price_micros"] and left <= order["left"]:
            return self.cancel_and_place(event, order, left)
        return self.amend(event, order, order["qty"] - order["left"] + left, price_micros)

    def clear(self, event: MarketEvent) -> list[dict]:
        self.hours.setdefault(event.symbol, FIRST_HOUR + len(self.hours))
        contract, said = self.contract(event.symbol), []
        accounts = {each["account"] for each in self.venue.engine.orders() if each["contract"] == contract}
        for account in sorted(accounts):
            filters = {"product": None, "contract": contract, "side": None}
            said += self.venue.send(MassCancel(command_id=self.command_id(), account=account, **filters))
        return said

    def amend(self, event: MarketEvent, order: dict | None, qty: int | None, price_micros: int | None) -> list[dict]:
        if order is not None and order["side"] == "sell" and qty is not None:
            self.offer(order["account"], order["contract"], max(0, qty - order["qty"]))
        return self.venue.send(
            ReplaceOrder.model_construct(
                command_id=self.command_id(),
                account=order["account"] if order else self.account(0, OrderSide.BUY),
                order_id=order["id"] if order else None,
                client_order_id=None if order else self.client_id((event.symbol, event.order_id)),
                replace_id=None,
                qty=qty,
                price_micros=price_micros,
                expires_ms=None,
            )
        )

    def cancel_and_place(self, event: MarketEvent, order: dict, left: int) -> list[dict]:
        owner = self.owners[order["id"]]
        said = self.cancel(event)
        self.forget_dead(event)
        side = OrderSide.BUY if order["side"] == "buy" else OrderSide.SELL
        price, quantity = order["price_micros"] / 1_000_000, left / LOTS
        return said + self.new(
            MarketEvent(
                op="new",
                symbol=event.symbol,
                order_id=event.order_id,
                side=side,
                price=price,
                quantity=quantity,
                owner=owner,
            )
        )

    # -- names, money and GPUs

    def command_id(self) -> str:
        return f"c-{len(self.venue.records)}"

    def contract(self, symbol: str) -> str:
        return contract_of(self.hours[symbol])

    def client_id(self, key: Key) -> str:
        return f"{key[0]}:{key[1]}:{self.lives.get(key, 0)}"

    def account(self, owner: int, side: OrderSide) -> str:
        """The owner's account, with money without end and a node; one a side where nothing prevents self-trades."""
        name = f"owner-{owner}"
        if self.policy == SelfTradePolicy.NONE:
            name += "-buys" if side == OrderSide.BUY else "-sells"
        if name not in self.nodes:
            self.nodes[name] = f"n{len(self.nodes)}"
            self.venue.credit(name, MONEY_MICROS)
        return name

    def offer(self, account: str, contract: str, qty: int) -> None:
        """Sees to it that the account's node has so many GPUs more in this hour."""
        engine = self.venue.engine
        asks = [each for each in engine.orders() if (each["account"], each["contract"]) == (account, contract)]
        sold = [each for each in engine.positions() if (each["operator"], each["contract"]) == (account, contract)]
        wanted = sum(each["left"] for each in asks) + sum(each["qty"] for each in sold) + qty
        if wanted > self.gpus.get(account, 0):
            self.gpus[account] = wanted + GPUS_SPARE
            self.venue.node(self.nodes[account], account, self.gpus[account])

    # -- what the engine holds

    def live(self, event: MarketEvent) -> dict | None:
        """The engine's live order under their id."""
        key = (event.symbol, event.order_id)
        return next((each for each in self.venue.engine.orders() if self.keys.get(each["id"]) == key), None)

    def forget_dead(self, event: MarketEvent) -> None:
        """Their ids of orders that are over may be used again."""
        live = {each["id"] for each in self.venue.engine.orders()}
        over = [key for order_id, key in self.keys.items() if order_id not in live]
        self.keys = {order_id: key for order_id, key in self.keys.items() if order_id in live}
        if event.op == "new" and not over and (event.symbol, event.order_id) not in self.keys.values():
            over = [(event.symbol, event.order_id)]
        for key in over:
            self.lives[key] = self.lives.get(key, 0) + 1

    def side(self, symbol: str, side: str) -> tuple[RestingOrder, ...]:
        resting = self.venue.engine.store.resting(self.contract(symbol), side)
        return tuple(
            RestingOrder(self.keys[order.id][1], price(order.price_micros), quantity(order.left), self.owners[order.id])
            for order in resting
        )

    def fill(self, symbol: str, trade: dict) -> TradeFill:
        maker, taker = (self.names[trade[name]] for name in ("maker_order_id", "taker_order_id"))
        buyer, seller = (taker, maker) if trade["taker_side"] == "buy" else (maker, taker)
        return TradeFill(symbol, buyer, seller, price(trade["price_micros"]), quantity(trade["qty"]))


def lots(amount: float) -> int:
    """Their quantity in our lots."""
    exact = Decimal(str(amount)) * LOTS
    if exact != int(exact):
        raise ValueError(f"{amount} is no whole number of lots of 1/{LOTS}")
    return int(exact)


def price_of(amount: float) -> int:
    """Their price in micro-units, on the tick."""
    ticks = (Decimal(str(amount)) * 100).quantize(Decimal(1), ROUND_HALF_EVEN)
    return int(ticks) * TICK_MICROS


def price(micros: int) -> str:
    return canonical_decimal(Decimal(micros) / 1_000_000)


def quantity(qty: int) -> str:
    return canonical_decimal(Decimal(qty) / LOTS)


def outcome(said: list[dict]) -> Outcome:
    """Applied, or the engine's refusal in their words. A FOK that cannot be filled is an answer, not a refusal."""
    for event in said:
        code: Any = "order_duplicate" if event["type"] == "order_duplicate" else event.get("code")
        if code and code != "fok_not_filled":
            return Outcome("rejected", REASONS.get(code, f"OTHER_{code.upper()}"), json.dumps(event))
    return Outcome("applied")


if __name__ == "__main__":
    sys.exit(serve_stdio(Adapter))
