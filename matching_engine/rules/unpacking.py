"""Reads the packed sections of a snapshot."""

from struct import Struct

from matching_engine.rules import sections
from matching_engine.rules.outline import Outline, add_extras
from matching_engine.rules.state import Balance, Binding, Order, Position, State


class Unpacker:
    """Sections on their way into the state of their outline. Whatever is wrong raises LookupError, ValueError or
    struct.error.
    """

    def __init__(self, outline: Outline, packed: memoryview):
        self.state, self.names, self.packed, self.at = outline.state, outline.names, packed, 0

    def read_record(self, record: Struct) -> tuple:
        """The next record."""
        values = record.unpack_from(self.packed, self.at)
        self.at += record.size
        return values

    def count(self) -> range:
        """As many as the section has records."""
        return range(*self.read_record(sections.COUNT))

    def client_order_id(self, size: int) -> str:
        text = bytes(self.packed[self.at : self.at + size])
        self.at += size
        return text.decode("ascii")

    def balances(self) -> None:
        for _ in self.count():
            account, asset, available, held = self.read_record(sections.BALANCE)
            balances = self.state.balances.setdefault(self.names.accounts[account], {})
            balances[self.names.assets[asset]] = Balance(available, held)

    def periods(self) -> None:
        for _ in self.count():
            node, start_s, committed, sold = self.read_record(sections.PERIOD)
            for counts, gpus in zip(self.counts_of(node), (committed, sold), strict=True):
                if gpus:
                    counts[start_s] = gpus

    def counts_of(self, place: int) -> tuple[dict[int, int], dict[int, int]]:
        node = self.state.nodes[self.names.nodes[place]]
        return node.committed, node.sold

    def gates(self) -> None:
        for _ in self.count():
            until_ms, count = self.read_record(sections.GATE)
            for _ in range(count):
                self.binding(until_ms)

    def binding(self, until_ms: int) -> None:
        account, offset, order_id, body, size = self.read_record(sections.BINDING)
        bindings = self.state.bindings.setdefault(self.names.accounts[account], {})
        bindings[self.client_order_id(size)] = Binding(body.hex(), offset, order_id or None, until_ms)

    def positions(self) -> None:
        for _ in self.count():
            position_id, contract, buyer, operator, node, *numbers = self.read_record(sections.POSITION)
            qty, price, escrow, bond, bond_left, fee = numbers
            self.state.positions[position_id] = Position(
                id=position_id,
                contract=self.names.contracts[contract],
                buyer=self.names.accounts[buyer],
                operator=self.names.accounts[operator],
                node=self.names.nodes[node],
                qty=qty,
                price_micros=price,
                block_id=None,
                escrow_micros=escrow,
                bond_micros=bond,
                bond_left_micros=bond_left,
                fee_micros=fee,
            )

    def lines(self) -> None:
        for _ in self.count():
            contract, count = self.read_record(sections.LINE)
            ids = [self.read_record(sections.POSITION_ID)[0] for _ in range(count)]
            self.state.contracts[self.names.contracts[contract]].positions = ids

    def orders(self) -> None:
        for _ in self.count():
            self.order()

    def order(self) -> None:
        order_id, parent_id, account, contract, node, *numbers, size = self.read_record(sections.ORDER)
        price, unit, hold, qty, left, side, kind, tif, post_only = numbers
        self.state.orders[order_id] = Order(
            id=order_id,
            parent_id=parent_id or None,
            account=self.names.accounts[account],
            client_order_id=self.client_order_id(size) or None,
            contract=self.names.contracts[contract],
            side=sections.SIDES[side],
            kind=sections.KINDS[kind],
            price_micros=price,
            max_cost_micros=None,
            qty=qty,
            left=left,
            tif=sections.TIFS[tif],
            post_only=bool(post_only),
            node=None if node == sections.NOTHING else self.names.nodes[node],
            hold_unit_micros=unit,
            hold_micros=hold,
        )


def unpack(outline: Outline, packed: memoryview) -> State:
    """Returns the outline's state, whole."""
    unpacker, state = Unpacker(outline, packed), outline.state
    unpacker.balances()
    unpacker.periods()
    unpacker.gates()
    unpacker.positions()
    unpacker.lines()
    unpacker.orders()
    if unpacker.at != len(packed):
        raise ValueError("trailing bytes after the last section")
    add_extras(state.positions, outline.positions)
    add_extras(state.orders, outline.orders)
    return state
