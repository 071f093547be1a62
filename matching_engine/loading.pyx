"""Whole states: from the reference's records into the exchange, and back."""

from dataclasses import replace

from matching_engine.core cimport Core
from matching_engine.market cimport CompiledMarket
from matching_engine.records cimport Balances, Bindings, ContractPositions, Orders, Positions

from matching_engine.core import Core as make_core
from matching_engine.market import Market
from matching_engine.reference import state as plain
from matching_engine.reference.market import rank_of
from matching_engine.waiting_blocks import WaitingBlocks


def open_market(state) -> Market:
    """The market of a state, whose orders, money, bindings and positions move into the exchange."""
    cdef Core core = make_core()
    orders, positions, bindings, balances = state.orders, state.positions, state.bindings, state.balances
    state.orders, state.positions = Orders(core), Positions(core)
    state.bindings, state.balances = Bindings(core), Balances(core)
    state.blocks = WaitingBlocks(state.blocks)
    market = Market(core, state.orders, state)
    core.exchange.next_offset = state.next_offset
    (<CompiledMarket>market).end_rules()
    for account, assets in balances.items():
        for asset, balance in assets.items():
            state.balances[account].setdefault(asset, balance)
    for account, bound in bindings.items():
        for client_order_id, binding in bound.items():
            state.bindings[account][client_order_id] = binding
    for name in state.nodes:
        (<CompiledMarket>market).find_node(name)
    for _, position in sorted(positions.items()):
        state.positions[position.id] = position
    for name, contract in state.contracts.items():
        if contract.last_micros is not None:
            market.note_price(name, contract.last_micros)
        ids = contract.positions
        contract.positions = ContractPositions(core, core.contract(name))
        for position_id in ids:
            contract.positions.append(position_id)
    for order in sorted(orders.values(), key=rank_of):
        market.index_order(order)
    (<CompiledMarket>market).end_rules()
    return market


def plain_state(market) -> plain.State:
    """The same state in the reference's records."""
    state = market.state
    return replace(
        state,
        orders={order.id: plain_record(order, plain.Order) for order in state.orders.values()},
        positions={each.id: plain_record(each, plain.Position) for each in state.positions.values()},
        bindings=dict(state.bindings.items()),
        balances={
            account: {asset: plain.Balance(each.available, each.held) for asset, each in assets.items()}
            for account, assets in state.balances.items()
        },
        nodes={
            name: replace(node, committed=dict(node.committed.items()), sold=dict(node.sold.items()))
            for name, node in state.nodes.items()
        },
        contracts={
            name: replace(contract, positions=list(contract.positions), last_micros=market.last_micros(name))
            for name, contract in state.contracts.items()
        },
    )


def plain_record(view, record):
    return record(**{name: getattr(view, name) for name in record.__dataclass_fields__})
