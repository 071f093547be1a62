"""Each view beside the engine: fed in batches cut anywhere, written, restarted, compared with the engine's state.

`python -m tests.property.services.followers --inputs N --seed S` does that for N events of random logs.
"""

from argparse import ArgumentParser
from collections import Counter, defaultdict
from itertools import count
from random import Random
from typing import Any

import orjson

from schemas.events import EVENT, AnyEvent
from schemas.replies import OrderView
from services.gateway.commands.pending import PendingCommands
from services.gateway.handlers import WholeCommands, is_last
from services.gateway.projections.apply import apply
from services.gateway.projections.history import History
from services.gateway.projections.records import BLOCKS, OPEN, OVER, Balance, Fill, Order, RejectedOrder, Rule
from services.gateway.projections.records import Position as Held
from services.gateway.projections.views import Views, as_first_decided, show_rejected
from services.kit import doubts
from services.kit.events import EventBatch
from services.kit.store import Position
from services.ledger.domain import GPU_MS, ISSUED, AccountKey, corrected_positions, plan_batch
from services.market_data import packing
from services.market_data.domain import Market
from services.market_data.feed import Feed, Ring
from services.market_data.publishing import Publishing
from tests.engine.all_kinds import AllKinds
from tests.engine.random_log import RandomLog
from tests.scenarios.engines import ENGINES

KINDS = {
    "orders": Order,
    "refusals": RejectedOrder,
    "fills": Fill,
    "positions": Held,
    "balances": Balance,
    "rules": Rule,
}
ENGINE = ENGINES.get("cython", ENGINES["reference"])
COMMANDS = 40  # between two comparisons
EVENTS_PER_LOG = 2_500


class Disagreement(AssertionError):
    """A view holds something else than the engine."""


def expect(what: str, found: Any, wanted: Any) -> None:
    """Raises Disagreement, with what differs alone."""
    if found != wanted:
        if isinstance(found, dict) and isinstance(wanted, dict):
            keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
            found, wanted = ({key: each.get(key) for key in keys} for each in (found, wanted))
        raise Disagreement(f"{what}: the view has {found}, the engine {wanted}")


class PublicMarket:
    """market_data: whole commands, a snapshot at a restart."""

    def __init__(self) -> None:
        self.market, self.pending, self.ruleset = Market(), [], 0
        self.publishing = Publishing(self.market, Feed(Ring(300_000, 1_000)))

    def take(self, events: list[AnyEvent]) -> None:
        self.pending += events
        while self.pending and len(self.pending) >= self.pending[0].count:
            count = self.pending[0].count
            command, self.pending = self.pending[:count], self.pending[count:]
            changes = self.market.apply(command)
            self.publishing.publish(changes)
            self.ruleset = next((each.ruleset for each in command if hasattr(each, "ruleset")), self.ruleset)
            trades = {each.seq for each in command if each.type == "trade" and each.resale and not each.taker_side}
            for doubt in changes.doubts:
                if self.ruleset >= 4 or doubt.seq not in trades:
                    raise Disagreement(f"market_data doubts {doubt}")

    def restart(self) -> None:
        if not self.pending:
            state = packing.unpack(packing.pack(self.market.state()))
            self.market = Market()
            self.market.restore(state)
            self.publishing = Publishing(self.market, Feed(Ring(300_000, 1_000)))

    def compare(self, engine: Any) -> None:
        depth: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
        for order in engine.orders():
            if order["contract"] is not None:
                depth[order["contract"], order["side"]][order["price_micros"]] += order["shown"]
        shown = {}
        for name, contract in self.market.contracts.items():
            for side in ("buy", "sell"):
                if levels := contract.book.side(side).gpus:
                    shown[name, side] = Counter(levels)
        expect("books", shown, dict(depth))
        states = {name: known.state for name, known in engine.state.contracts.items() if name in self.market.contracts}
        expect("states", {name: self.market.contracts[name].state for name in states}, states)
        products = {name: product.state for name, product in engine.state.products.items()}
        expect("products", {name: product.state for name, product in self.market.products.items()}, products)


class Gateway:
    """The gateway: whole commands, rows at a flush, and a restart from them that reads what came after again."""

    def __init__(self) -> None:
        self.history, self.pending, self.whole = History(), PendingCommands(), WholeCommands(Position(0, 0, None))
        self.tables: dict[str, dict] = {name: {} for name in KINDS}
        self.terms: dict[str, dict] = {"products": {}, "programmes": {}}
        self.events: list[AnyEvent] = []
        self.position = self.written = Position(0, 0, None)
        self.first: dict[int, OrderView] = {}
        self.decided: dict[int, Order] = {}
        self.changed: set[int] = set()

    def take(self, events: list[AnyEvent]) -> None:
        self.events += events
        self._take(events)

    def _take(self, events: list[AnyEvent]) -> None:
        if not events:
            return
        last = events[-1]
        whole, self.position = self.whole.cut(EventBatch(tuple(events), (), last.seq, last.ts_ms, last.seq))
        views = Views(self.history)
        for event in whole:
            records = apply(self.history, event)
            self.pending.add(event, records)
            for record in records:
                show(views, record)
                if isinstance(record, Order):
                    self.changed.add(record.order_id)
                    if record.in_offset == event.in_offset:
                        self.decided[record.order_id] = record
            if is_last(event):
                self.first |= {key: views.order(as_first_decided(each)) for key, each in self.decided.items()}
                self.decided = {}

    def flush(self) -> None:
        changes = self.history.drain_changes()
        for name, kind in KINDS.items():
            rows = orjson.loads(orjson.dumps([*getattr(changes, name).values()]))
            self.tables[name] |= zip(getattr(changes, name), (kind(**row) for row in rows), strict=True)
        for name, known in self.terms.items():
            known.update(
                {key: each for key, each in getattr(changes, name).items() if name == "products" or key not in known}
            )
        self.history.forget(changes)
        self.written = self.position

    def restart(self) -> None:
        orders = (each for each in self.tables["orders"].values() if each.status in OPEN)
        positions = (each for each in self.tables["positions"].values() if each.state not in OVER)
        rest = [*self.tables["balances"].values(), *self.tables["rules"].values()]
        rows = orjson.loads(orjson.dumps([[*orders], [*positions]]))
        records = [*(Order(**row) for row in rows[0]), *(Held(**row) for row in rows[1]), *rest]
        self.history, self.whole = History(), WholeCommands(self.written)
        self.pending = PendingCommands()
        terms = (known.values() for known in self.terms.values())
        self.history.restore(records, *terms, self.written.seq, max(self.tables["orders"], default=0))
        self._take(self.events[self.written.seq :])

    def compare(self, engine: Any) -> None:
        history = self.history
        live = {
            order.order_id: (order.account, order.side, order.remaining_qty, order.price_micros, order.contract)
            for order in history.orders.values()
            if order.status in OPEN and (order.kind not in ("capacity", "resell") or order.parent_id)
        }
        names = ("account", "side", "left", "price_micros", "contract")
        expect("orders", live, {each["id"]: tuple(each[name] for name in names) for each in engine.orders()})
        balances = {key: (each.available_micros, each.held_micros) for key, each in history.balances.items()}
        expect("balances", nonzero(balances), nonzero(balances_of(engine)))
        self._compare_positions(engine)
        programmes = {name: programme.terms for name, programme in engine.state.programmes.items()}
        expect("programmes", history.programmes, programmes)
        self._compare_parents()
        self._compare_quantities()
        views = Views(history)
        rows = {**self.tables["orders"], **history.orders}
        changed, self.changed = self.changed & self.first.keys(), set()
        firsts = {key: views.order(as_first_decided(rows[key])) for key in changed}
        expect("first results", firsts, {key: self.first[key] for key in changed})

    def _compare_positions(self, engine: Any) -> None:
        names = ("contract", "buyer", "operator", "node", "qty", "price_micros", "block_id", "revision")
        wanted = {each["id"]: (*(each[name] for name in names), each["state"]) for each in engine.positions()}
        found = {}
        for each in self.history.positions.values():
            if each.state not in OVER:
                state = "OPEN" if each.state == "LOCKED" else each.state
                found[each.position_id] = (*(getattr(each, name) for name in names), state)
        expect("positions", found, wanted)
        vouchers = {
            key: sum(each.parts.values()) for key, each in engine.state.voucher_escrows.items() if key in wanted
        }
        ours = {
            each.position_id: each.voucher_micros
            for each in self.history.positions.values()
            if each.position_id in wanted and each.voucher_micros
        }
        expect("vouchers", ours, {key: amount for key, amount in vouchers.items() if amount})

    def _compare_parents(self) -> None:
        """An order of many asks adds up to them, open and ended."""
        rows = {**self.tables["orders"], **self.history.orders}
        asks: dict[int, list[Order]] = defaultdict(list)
        for order in rows.values():
            if order.parent_id is not None:
                asks[order.parent_id].append(order)
        names = ("remaining_qty", "filled_qty", "filled_micros", "reduced_qty")
        found, wanted = {}, {}
        for parent_id, own in asks.items():
            parent = rows[parent_id]
            found[parent_id] = (*(getattr(parent, name) for name in names), parent.asks_open)
            sums = (sum(getattr(ask, name) for ask in own) for name in names)
            wanted[parent_id] = (*sums, sum(ask.status in OPEN for ask in own))
        expect("parents", found, wanted)

    def _compare_quantities(self) -> None:
        """What an order stands for is what it traded and what remains, while it is open, and all traded once filled."""
        rows = {**self.tables["orders"], **self.history.orders}.values()
        whole = [each for each in rows if each.status in (*OPEN, "filled") and (each.contract or each.kind in BLOCKS)]
        sums = {each.order_id: each.filled_qty + each.remaining_qty for each in whole}
        expect("quantities", {each.order_id: each.qty for each in whole}, sums)


class Books:
    """The ledger: every event posted twice over, in any batches; its balances are all that a restart needs."""

    def __init__(self) -> None:
        self.balances, self.delivered = {}, {}
        self.accounts: Counter[AccountKey] = Counter()

    def take(self, events: list[AnyEvent]) -> None:
        before = {key: self.delivered[key] for key in corrected_positions(events) if key in self.delivered}
        plan = plan_batch(events, self.balances, before)
        self.balances |= plan.balances
        self.delivered |= plan.delivered
        for transfer in plan.transfers:
            self.accounts[transfer.debit] -= transfer.amount
            self.accounts[transfer.credit] += transfer.amount

    def compare(self, engine: Any) -> None:
        expect("ledger", nonzero(dict(self.balances)), nonzero(balances_of(engine)))
        money = {}
        for (owner, asset, bucket), amount in self.accounts.items():
            if bucket in ("available", "held"):
                both = money.setdefault((owner, asset), [0, 0])
                both[bucket == "held"] = amount
        expect("accounts", nonzero({key: tuple(both) for key, both in money.items()}), nonzero(balances_of(engine)))
        below = {
            key: amount
            for key, amount in self.accounts.items()
            if amount < 0 and key.bucket not in ("external", "in_transit", "contracted") and key.owner != ISSUED
        }
        expect("accounts below zero", below, {})
        time = Counter()
        for key, amount in self.accounts.items():
            time[key.asset == GPU_MS] += amount
        expect("sum of all accounts", +time, Counter())


class Followers:
    """All views that are folds of the events."""

    def __init__(self, seed: int):
        self.random = Random(seed)
        self.market, self.gateway, self.books = PublicMarket(), Gateway(), Books()
        self.taken = 0

    def take(self, raws: list[bytes]) -> None:
        """Takes events in batches cut anywhere, with flushes and restarts in between."""
        events = [EVENT.validate_json(raw) for raw in raws]
        self.taken += len(events)
        while events:
            size = self.random.choice((1, 1, 2, 3, 5, 20))
            batch, events = events[:size], events[size:]
            self.market.take(batch)
            self.gateway.take(batch)
            self.books.take(batch)
            if not self.random.randrange(4):
                self.gateway.flush()
            if not self.random.randrange(60):
                self.gateway.restart()
                self.market.restart()

    def compare(self, engine: Any) -> None:
        """Raises Disagreement unless every view holds what the engine holds."""
        self.market.compare(engine)
        self.gateway.compare(engine)
        self.books.compare(engine)
        check_resales(engine)


def follow(log: RandomLog, events: int, seed: int, engine_class: type = ENGINE) -> int:
    """Lets all views follow a log for so many events; returns how many they were. Raises Disagreement."""
    engine, views, before = engine_class(), Followers(seed), doubted()
    while views.taken < events:
        views.take(engine.apply(log.take(COMMANDS)))
        log.look(engine)
        views.compare(engine)
        if doubted() != before:
            raise Disagreement(f"an event before seq {views.taken} did not fit")
    return views.taken


def doubted() -> float:
    """Returns how many events did not fit what a view had."""
    return next(iter(doubts.DOUBTS.collect())).samples[0].value


def check_resales(engine: Any) -> None:
    """An ask that resells a named position stands on that alone."""
    for order in engine.state.orders.values():
        if order.resold_position_id is not None:
            expect("resale", {each for each, _ in order.backing}, {order.resold_position_id})


def show(views: Views, record: Any) -> None:
    """Makes of a record what its owner reads."""
    match record:
        case Order():
            views.order(record)
        case Fill():
            views.fill(record, record.buyer)
        case Held():
            views.position(record, record.buyer), views.position(record, record.operator)
        case Balance():
            views.balance(record)
        case RejectedOrder():
            show_rejected(record)


def balances_of(engine: Any) -> dict[tuple[str, str], tuple[int, int]]:
    return {(account, asset): (available, held) for account, asset, available, held in engine.balances()}


def nonzero(balances: dict) -> dict:
    return {key: tuple(value) for key, value in balances.items() if any(value)}


def main() -> None:
    """Follows logs of every kind until there were so many events."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="how many events")
    parser.add_argument("--seed", type=int, default=0, help="the first log's seed")
    asked, taken = parser.parse_args(), 0
    for seed in count(asked.seed):
        kind = RandomLog if seed % 5 == 0 else AllKinds
        taken += follow(kind(seed), EVENTS_PER_LOG, seed)
        print(f"seed {seed}: {taken} events in all", flush=True)
        if taken >= asked.inputs:
            return


if __name__ == "__main__":
    main()
