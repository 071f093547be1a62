"""Writes the packed sections of a snapshot."""

from collections.abc import Iterable, Iterator
from itertools import chain

from matching_engine.rules import sections
from matching_engine.rules.outline import Names
from matching_engine.rules.state import Binding, Order, Position, State
from matching_engine.rules.store import rank_of


def names_of(state: State) -> Names:
    """The names that the sections of a state use."""
    orders, positions, contracts = state.orders.values(), state.positions.values(), state.contracts
    balances = [(account, asset) for account, assets in state.balances.items() for asset in assets]
    return Names(
        accounts=in_use(
            (account for account, _ in balances),
            (account for account, bindings in state.bindings.items() if bindings),
            (account for each in positions for account in (each.buyer, each.operator)),
            (each.account for each in orders),
        ),
        assets=in_use(asset for _, asset in balances),
        contracts=in_use(
            (name for name, contract in contracts.items() if contract.positions),
            (each.contract for each in [*orders, *positions]),
        ),
        nodes=in_use(
            (name for name, node in state.nodes.items() if node.committed or node.sold),
            (each.node for each in [*orders, *positions] if each.node is not None),
        ),
    )


def in_use(*names: Iterable[str]) -> list[str]:
    return sorted(set(chain(*names)))


class Packer:
    """The sections of a state, each a list of its records."""

    def __init__(self, state: State, names: Names):
        self.state = state
        self.accounts, self.assets = places(names.accounts), places(names.assets)
        self.contracts, self.nodes = places(names.contracts), places(names.nodes) | {None: sections.NOTHING}

    def balances(self) -> list[bytes]:
        """By account and asset."""
        return [
            sections.BALANCE.pack(self.accounts[account], self.assets[asset], balance.available, balance.held)
            for account, assets in sorted(self.state.balances.items())
            for asset, balance in sorted(assets.items())
        ]

    def periods(self) -> list[bytes]:
        """By node and start."""
        return [
            sections.PERIOD.pack(self.nodes[name], start_s, node.committed.get(start_s, 0), node.sold.get(start_s, 0))
            for name, node in sorted(self.state.nodes.items())
            for start_s in sorted(node.committed.keys() | node.sold.keys())
        ]

    def gates(self) -> list[bytes]:
        """Bindings by the time until which they are kept, of one time by the record that they came with."""
        gates: dict[int, list[bytes]] = {}
        for account, client_order_id, binding in sorted(bindings_of(self.state), key=time_of_binding):
            order_id, size = binding.order_id or 0, len(client_order_id)
            body = bytes.fromhex(binding.body)
            record = sections.BINDING.pack(self.accounts[account], binding.offset, order_id, body, size)
            gates.setdefault(binding.until_ms, []).append(record + client_order_id.encode())
        return [
            sections.GATE.pack(until_ms, len(bindings)) + b"".join(bindings)
            for until_ms, bindings in sorted(gates.items())
        ]

    def positions(self) -> list[bytes]:
        """By id."""
        return [self.pack_position(each) for _, each in sorted(self.state.positions.items())]

    def lines(self) -> list[bytes]:
        """By contract the ids of its positions, in its own order."""
        return [
            sections.LINE.pack(self.contracts[name], len(contract.positions))
            + b"".join(map(sections.POSITION_ID.pack, contract.positions))
            for name, contract in sorted(self.state.contracts.items())
            if contract.positions
        ]

    def orders(self) -> list[bytes]:
        """By their place in time."""
        return [self.pack_order(each) for each in sorted(self.state.orders.values(), key=rank_of)]

    def pack_position(self, each: Position) -> bytes:
        return sections.POSITION.pack(
            each.id,
            self.contracts[each.contract],
            self.accounts[each.buyer],
            self.accounts[each.operator],
            self.nodes[each.node],
            each.qty,
            each.price_micros,
            each.escrow_micros,
            each.bond_micros,
            each.bond_left_micros,
            each.fee_micros,
        )

    def pack_order(self, each: Order) -> bytes:
        client_order_id = (each.client_order_id or "").encode()
        record = sections.ORDER.pack(
            each.id,
            each.parent_id or 0,
            self.accounts[each.account],
            self.contracts[each.contract],
            self.nodes[each.node],
            each.price_micros,
            each.hold_unit_micros,
            each.hold_micros,
            each.qty,
            each.left,
            sections.SIDES.index(each.side),
            sections.KINDS.index(each.kind),
            sections.TIFS.index(each.tif),
            each.post_only,
            len(client_order_id),
        )
        return record + client_order_id


def places(names: list[str]) -> dict:
    return {name: place for place, name in enumerate(names)}


def bindings_of(state: State) -> Iterator[tuple[str, str, Binding]]:
    return (
        (account, client_order_id, binding)
        for account, bindings in state.bindings.items()
        for client_order_id, binding in bindings.items()
    )


def time_of_binding(bound: tuple[str, str, Binding]) -> tuple[int, str, str]:
    """The members of a batch came with the same record."""
    account, client_order_id, binding = bound
    return binding.offset, account, client_order_id


def pack(state: State, names: Names) -> bytes:
    """Returns the sections of a state."""
    packer = Packer(state, names)
    parts = (packer.balances(), packer.periods(), packer.gates(), packer.positions(), packer.lines(), packer.orders())
    return b"".join(sections.COUNT.pack(len(records)) + b"".join(records) for records in parts)
