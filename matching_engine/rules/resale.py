"""Resale: asks that stand on the account's own positions, and how a fill splits one off for its new buyer.

What this file settles: the asks hold no money, since the position's escrow and bond stand behind
them, and they stay when the node's heartbeats stop, since the operator's promise does; the `max_cost` of a market sell
is the most that may be lost against what was paid, each GPU bearing an equal part.
"""

from dataclasses import dataclass

from matching_engine.rules import voucher_settling
from matching_engine.rules.fills import Fill
from matching_engine.rules.market import Market
from matching_engine.rules.money import VENUE, Entry, unit_micros
from matching_engine.rules.refusals import require
from matching_engine.rules.state import Order, Position
from schemas.events import Resale

Backing = list[tuple[int, int]]


def is_resale(order: Order) -> bool:
    """Whether an order is an ask that positions back."""
    return order.side == "sell" and order.node is None


# -- which GPUs stand behind an ask


def find_backing(
    market: Market, account: str, contract: str, qty: int, position_id: int | None = None, block_id: int | None = None
) -> Backing:
    """The account's own positions in that contract, oldest first: GPUs that no other ask offers. [M-32]"""
    backing: Backing = []
    for position in positions_in(market, account, contract, position_id, block_id):
        free = min(qty, position.qty - market.state.offered.get(position.id, 0))
        if free:
            backing.append((position.id, free))
            qty -= free
    require(qty == 0, "unbacked_ask")
    return backing


def find_more(market: Market, order: Order, qty: int) -> Backing:
    """GPUs for an ask that is to grow, of the position or the block that it was to resell where one was named.
    [M-33]
    """
    named = order.resold_position_id, order.resold_block_id
    return find_backing(market, order.account, order.contract, qty, *named)


def positions_in(
    market: Market, account: str, contract: str, position_id: int | None, block_id: int | None
) -> list[Position]:
    """The account's positions in a contract, of one block or a single one where that is asked for."""
    known = market.state.contracts.get(contract)
    positions = [market.state.positions[each] for each in known.positions] if known else []
    return [
        position
        for position in positions
        if position.buyer == account and position_id in (None, position.id) and block_id in (None, position.block_id)
    ]


def back(market: Market, order: Order, backing: Backing) -> None:
    """The same GPUs can never be offered twice: the ask's GPUs are taken off what else its positions may back."""
    behind = dict(order.backing or ())
    for position_id, gpus in backing:
        behind[position_id] = behind.get(position_id, 0) + gpus
        count_offered(market, position_id, gpus)
    order.backing = sorted(behind.items())


def change_backing(market: Market, order: Order, qty: int) -> None:
    """The ask is replaced: it needs so many GPUs more, or fewer."""
    if qty > 0:
        back(market, order, find_more(market, order, qty))
    elif qty < 0:
        release_backing(market, order, -qty)


def parts_of_fill(market: Market, ask: Order, qty: int) -> Backing:
    """The GPUs of a fill, by position, oldest first."""
    taken: Backing = []
    for position_id, gpus in ask.backing:
        part = min(qty, gpus)
        qty -= part
        if part:
            taken.append((position_id, part))
    return taken


def release_backing(market: Market, order: Order, qty: int) -> None:
    """What an ask no longer offers may be offered again, of its newest position first."""
    for position_id, gpus in reversed(order.backing):
        part = min(qty, gpus)
        qty -= part
        reduce_backing(market, order, position_id, part)


def reduce_backing(market: Market, order: Order, position_id: int, gpus: int) -> None:
    count_offered(market, position_id, -gpus)
    behind = [(each, left - gpus if each == position_id else left) for each, left in order.backing]
    order.backing = [(each, left) for each, left in behind if left]


def count_offered(market: Market, position_id: int, gpus: int) -> None:
    offered = market.state.offered.get(position_id, 0) + gpus
    if offered:
        market.state.offered[position_id] = offered
    else:
        market.state.offered.pop(position_id, None)


def require_price(market: Market, order: Order, price_micros: int, backing: Backing) -> None:
    """Refuses a price below the part that vouchers paid of the positions. [C-20]"""
    unit = unit_micros(market.terms_of(order.contract), price_micros)
    require(voucher_settling.covers(market, backing, unit), "below_voucher_part")


# -- a fill


@dataclass(frozen=True)
class Split:
    """A position made of GPUs of another one, and what the trade tells of it."""

    position: Position
    price_micros: int
    seller: str
    resale: Resale
    vouchers: voucher_settling.Parts


def split(
    market: Market, ask: Order, position_id: int, buyer: str, qty: int, fill: Fill, block_id: int | None
) -> Split:
    """Those q GPUs split off as a new position with their escrow, bond, settlement price P and node. [M-34]"""
    state, source = market.state, market.state.positions[position_id]
    reduce_backing(market, ask, position_id, qty)
    ask.left -= qty
    state.last_position_id += 1
    escrow_micros = source.escrow_micros // source.qty * qty
    bond_micros = source.bond_micros // source.qty * qty
    position = Position(
        id=state.last_position_id,
        contract=source.contract,
        buyer=buyer,
        operator=source.operator,
        node=source.node,
        qty=qty,
        price_micros=source.price_micros,
        block_id=block_id,
        escrow_micros=escrow_micros,
        bond_micros=bond_micros,
        bond_left_micros=bond_micros,
        fee_micros=source.fee_micros * qty // source.qty + qty * fill.fee_micros,
    )
    parts = voucher_settling.split_off(market, source, escrow_micros)
    source.fee_micros -= source.fee_micros * qty // source.qty
    source.qty -= qty
    source.escrow_micros -= escrow_micros
    source.bond_micros -= bond_micros
    source.bond_left_micros -= bond_micros
    positions = state.contracts[source.contract].positions
    state.positions[position.id] = position
    positions.append(position.id)
    if not source.qty:
        positions.remove(position_id)
        del state.positions[position_id]
    traded = Resale(
        from_position_id=position_id,
        operator=source.operator,
        settlement_price_micros=source.price_micros,
        paid_micros=qty * fill.unit_micros,
    )
    return Split(position, fill.price_micros, ask.account, traded, parts)


def pay_seller(entry: Entry, sold: Split, fee_micros: int) -> Entry:
    """The escrow is the new buyer's held money from now on; the price is the seller's, at once, finally."""
    escrow_micros = sold.position.escrow_micros
    entry.add(sold.seller, available=sold.resale.paid_micros, held=-escrow_micros)
    return entry.add(sold.position.buyer, held=escrow_micros).add(VENUE, available=fee_micros)


def within_loss_limit(market: Market, ask: Order, price_micros: int) -> bool:
    """Whether a market sell may go at a price: no GPU loses more than its part of `max_cost`. [M-35]"""
    terms = market.terms_of(ask.contract)
    backing = ask.backing or find_backing(market, ask.account, ask.contract, ask.left)
    positions = [market.state.positions[each] for each, _ in backing]
    paid_micros = max(unit_micros(terms, position.price_micros) for position in positions)
    if not voucher_settling.covers(market, backing, unit_micros(terms, price_micros)):
        return False
    return paid_micros - unit_micros(terms, price_micros) <= ask.max_cost_micros // ask.qty
