"""The history: open orders, positions and balances in memory, and what changed of them for the tables."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from schemas import events as ev
from schemas.venue import DefineProduct
from schemas.vouchers import DefineProgramme
from services.gateway.projections.records import (
    OPEN,
    OVER,
    Balance,
    Fill,
    Order,
    Position,
    RejectedOrder,
    Replacement,
    Rule,
    copy_of,
)
from services.gateway.projections.used_names import UsedNames

Record = Order | RejectedOrder | Fill | Position | Balance | Rule


@dataclass
class Changes:
    """Records that changed since the last flush, by their keys; one of each kind and key, as it stands now."""

    orders: dict[int, Order] = field(default_factory=dict)
    refusals: dict[tuple[str, str], RejectedOrder] = field(default_factory=dict)
    replacements: dict[tuple[str, str], Replacement] = field(default_factory=dict)
    fills: dict[int, Fill] = field(default_factory=dict)
    positions: dict[int, Position] = field(default_factory=dict)
    balances: dict[tuple[str, str], Balance] = field(default_factory=dict)
    rules: dict[tuple[str, str], Rule] = field(default_factory=dict)
    products: dict[str, DefineProduct] = field(default_factory=dict)
    programmes: dict[str, DefineProgramme] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(getattr(self, each.name)) for each in fields(self))


class History:
    """What the events make of orders, positions and balances. Ended orders and final positions stay until `forget`."""

    def __init__(self):
        self.orders: dict[int, Order] = {}
        self.refusals: dict[tuple[str, str], RejectedOrder] = {}
        self.replacements: dict[tuple[str, str], Replacement] = {}
        self.positions: dict[int, Position] = {}
        self.balances: dict[tuple[str, str], Balance] = {}
        self.rules: dict[tuple[str, str], Rule] = {}
        self.products: dict[str, DefineProduct] = {}
        self.programmes: dict[str, DefineProgramme] = {}
        self.node_marks: dict[str, bool] = {}
        self.by_client: dict[tuple[str, str], int] = {}
        self.seq = 0
        self.restored_seq = 0
        self.newest_order_id = 0
        self.used_names = UsedNames()
        self.node_seqs: dict[tuple[str, str], int] = {}
        self.positions_of: dict[str, set[int]] = defaultdict(set)
        self._own_orders: dict[str, dict[int, Order]] = defaultdict(dict)
        self._own_positions: dict[str, dict[int, Position]] = defaultdict(dict)
        self._own_balances: dict[str, dict[str, Balance]] = defaultdict(dict)
        self._own_rules: dict[str, dict[str, Rule]] = defaultdict(dict)
        self.changes = Changes()
        self.touched: list[Record] = []
        self._replacing: list[Replacement] = []

    def restore(
        self,
        records: Iterable[Record],
        products: Iterable[DefineProduct],
        programmes: Iterable[DefineProgramme],
        seq: int,
        newest_order_id: int,
    ) -> None:
        """Take what the tables held after event `seq`."""
        self.newest_order_id = newest_order_id
        for record in records:
            match record:
                case Order():
                    self._keep_order(record)
                case Position():
                    self.keep_position(record)
                case Balance():
                    self._keep_balance(record)
                case Rule():
                    self._keep_rule(record)
        self.products.update({terms.product: terms for terms in products})
        self.programmes.update({terms.programme: terms for terms in programmes})
        self.seq = self.restored_seq = seq

    def node_seq(self, operator: str, node: str) -> int:
        """Return after which event nothing of an operator's node has changed: its orders, and what it has sold."""
        return self.node_seqs.get((operator, node), self.restored_seq)

    def open_orders_of(self, account: str) -> list[Order]:
        """Return an account's open orders, asks of its capacity orders too."""
        return [order for order in self._own_orders.get(account, {}).values() if order.status in OPEN]

    def positions_held_by(self, account: str) -> list[Position]:
        """Return the positions that an account bought or serves."""
        return [*self._own_positions.get(account, {}).values()]

    def balances_of(self, account: str) -> list[Balance]:
        """Return what an account has, by asset."""
        return [balance for _, balance in sorted(self._own_balances.get(account, {}).items())]

    def rules_of(self, account: str) -> list[Rule]:
        """Return what an account is held to in products, by product."""
        return [rule for product, rule in sorted(self._own_rules.get(account, {}).items()) if product]

    def begin_event(self, seq: int) -> None:
        """An event comes: what it touches is noted anew."""
        self.touched = []
        self.seq = seq

    def end_command(self) -> None:
        """A command has its last event: the orders that it replaced are as it leaves them."""
        if self._replacing:
            for replacement in self._replacing:
                replacement.left_as = copy_of(self.orders[replacement.order_id])
            self._replacing = []

    def changes_pending(self) -> int:
        """Count the records that the tables do not hold as they stand."""
        return len(self.changes)

    def drain_changes(self) -> Changes:
        """Hand over what changed, and start anew."""
        taken, self.changes = self.changes, Changes()
        return taken

    def forget(self, flushed: Changes) -> None:
        """Drop what has ended, is in the tables, and did not change meanwhile."""
        for order_id, order in flushed.orders.items():
            if order_id not in self.changes.orders and order.status not in OPEN:
                self.orders.pop(order_id, None)
                _drop(self._own_orders, order.account, order_id)
                key = (order.account, order.client_order_id)
                if self.by_client.get(key) == order_id:
                    del self.by_client[key]
        for key in flushed.refusals.keys() - self.changes.refusals.keys():
            self.refusals.pop(key, None)
        for key in flushed.replacements.keys() - self.changes.replacements.keys():
            self.replacements.pop(key, None)
        for position_id, position in flushed.positions.items():
            if position_id not in self.changes.positions and position.state in OVER:
                self.positions.pop(position_id, None)
                for party in {position.buyer, position.operator}:
                    _drop(self._own_positions, party, position_id)
                self.positions_of[position.contract].discard(position_id)
                if not self.positions_of[position.contract]:
                    del self.positions_of[position.contract]

    def order_of_client(self, account: str, client_order_id: str) -> Order | RejectedOrder | None:
        """Return the account's order in memory under the client's id: the one that was taken before any rejection."""
        order_id = self.by_client.get((account, client_order_id))
        return self.orders[order_id] if order_id else self.refusals.get((account, client_order_id))

    def add_order(self, order: Order) -> None:
        """Keep an order that was just taken."""
        self._keep_order(order)
        self.changes.orders[order.order_id] = order
        self.touched.append(order)
        if order.node:
            self.node_seqs[order.account, order.node] = order.seq

    def add_replacement(self, replacement: Replacement) -> None:
        """Keep a replace that has a name of its own; its order is as it is left when the command ends."""
        key = (replacement.account, replacement.replace_id)
        self.replacements[key] = self.changes.replacements[key] = replacement
        self.used_names.add(*key)
        self._replacing.append(replacement)

    def _keep_order(self, order: Order) -> None:
        self.newest_order_id = max(self.newest_order_id, order.order_id)
        self.orders[order.order_id] = self._own_orders[order.account][order.order_id] = order
        if order.client_order_id and order.parent_id is None:
            self.by_client[order.account, order.client_order_id] = order.order_id
            self.used_names.add(order.account, order.client_order_id)

    def keep_position(self, position: Position) -> None:
        """Keep a position that is not final."""
        self.positions[position.position_id] = position
        self.positions_of[position.contract].add(position.position_id)
        for party in (position.buyer, position.operator):
            self._own_positions[party][position.position_id] = position

    def keep_rule(self, rule: Rule) -> None:
        """Keep a rule in the place of the one before."""
        self._keep_rule(rule)
        self.changes.rules[rule.account, rule.product] = rule

    def _keep_rule(self, rule: Rule) -> None:
        self.rules[rule.account, rule.product] = self._own_rules[rule.account][rule.product] = rule

    def changed(self, record: Order | Position, event: ev.Event) -> None:
        """Note that an event changed a record; while the order's own command lasts, that is its first result."""
        record.updated_ms, record.last_seq = event.ts_ms, event.seq
        if isinstance(record, Position):
            self.changes.positions[record.position_id] = record
            self.node_seqs[record.operator, record.node] = event.seq
        else:
            if record.in_offset == event.in_offset:
                record.first_remaining, record.first_seq = record.remaining_qty, event.seq
                record.first_filled_qty, record.first_filled_micros = record.filled_qty, record.filled_micros
            self.changes.orders[record.order_id] = record
            if record.node:
                self.node_seqs[record.account, record.node] = event.seq
        if not any(record is touched for touched in self.touched):
            self.touched.append(record)

    def post(self, posting: ev.Posting, seq: int) -> None:
        """Note the balance that a posting of event `seq` leaves."""
        key = (posting.account, posting.asset)
        balance = Balance(*key, posting.available, posting.held, seq)
        self._keep_balance(balance)
        self.changes.balances[key] = balance
        self.touched.append(balance)

    def _keep_balance(self, balance: Balance) -> None:
        self.balances[balance.account, balance.asset] = self._own_balances[balance.account][balance.asset] = balance


def _drop(own: dict[str, dict[int, Record]], account: str, key: int) -> None:
    kept = own.get(account, {})
    kept.pop(key, None)
    if not kept:
        own.pop(account, None)
