"""How a contract trades at its auction's price: priority on both sides, a position a pair, improvements returned."""

from collections import Counter
from dataclasses import dataclass

from matching_engine.rules import icebergs, resale, rulesets
from matching_engine.rules.auction_price import Equilibrium, Level
from matching_engine.rules.fills import Fill, fill_at
from matching_engine.rules.market import Market
from matching_engine.rules.matching import emit_trade, fill_ask, fill_bid, open_position
from matching_engine.rules.money import VENUE
from matching_engine.rules.state import Block, Order
from schemas.events import AuctionUncrossed


@dataclass
class Clearing:
    """A contract's price and volume; `served` counts the GPUs of each node that are kept for blocks."""

    contract: str
    found: Equilibrium
    served: dict[str, int]


def levels_of(market: Market, contract: str, side: str) -> list[Level]:
    return [(order.price_micros, order.left) for order in market.store.resting(contract, side)]


def winners(market: Market, clearing: Clearing, side: str, qty: int) -> list[tuple[Order, int]]:
    """The orders of one side that trade and their GPUs: as far as the price goes, best price first, then the oldest."""
    price_micros, chosen = clearing.found.price_micros, []
    for order in market.store.resting(clearing.contract, side):
        fits = order.price_micros >= price_micros if side == "buy" else order.price_micros <= price_micros
        if not qty or not fits:
            break
        chosen.append((order, min(qty, order.left)))
        qty -= chosen[-1][1]
    return chosen


def trade_clearing(market: Market, clearing: Clearing) -> None:
    """Tells the auction's result and trades its bids of one hour with the asks that blocks do not need."""
    found = clearing.found
    market.state.contracts[clearing.contract].recent_trades = []
    market.emit(
        AuctionUncrossed,
        contract=clearing.contract,
        price_micros=found.price_micros,
        qty=found.qty,
        surplus_qty=found.surplus_qty,
        surplus_side=found.surplus_side,
        reference_micros=market.reference_micros(clearing.contract),
    )
    qty = found.qty - sum(clearing.served.values())
    asks = asks_for_bids(winners(market, clearing, "sell", found.qty), clearing.served)
    for bid, wanted in winners(market, clearing, "buy", qty):
        while wanted:
            ask, offered = asks[0]
            part = min(wanted, offered)
            wanted -= part
            asks[0] = (ask, offered - part)
            if part == offered:
                asks.pop(0)
            fill = fill_of(market, clearing)
            released_micros = fill_bid(bid, part, fill)
            icebergs.hide_excess(bid)
            trade_pair(market, ask, bid, part, fill, released_micros)
            if not bid.left:
                market.store.remove_order(bid)


def asks_for_bids(asks: list[tuple[Order, int]], served: dict[str, int]) -> list[tuple[Order, int]]:
    """What is left of the executed asks once each node's last ones are kept for blocks."""
    kept, rest = Counter(served), []
    for ask, qty in reversed(asks):
        part = min(qty, kept[ask.node])
        kept[ask.node] -= part
        if qty > part:
            rest.append((ask, qty - part))
    return rest[::-1]


def fill_of(market: Market, clearing: Clearing) -> Fill:
    terms = market.terms_of(clearing.contract)
    return fill_at(terms, clearing.found.price_micros, terms.maker_fee_bps)


def trade_pair(market: Market, ask: Order, bid: Order | Block, qty: int, fill: Fill, released_micros: int) -> None:
    """Trades GPUs of an ask with a bid whose own record says already that it has them."""
    block_id = bid.id if isinstance(bid, Block) else None
    if resale.is_resale(ask):
        trade_resold_pair(market, ask, bid, qty, fill, released_micros)
        return
    bond_micros = fill_ask(market, ask, qty)
    icebergs.hide_excess(ask)
    if not ask.left:
        market.store.remove_order(ask)
    escrow_micros, fee_micros = qty * fill.unit_micros, qty * fill.fee_micros
    entry = market.entry(market.terms_of(ask.contract).currency)
    entry.hold(bid.account, escrow_micros - released_micros).add(bid.account, available=-fee_micros)
    entry.add(VENUE, available=fee_micros)
    position = open_position(market, ask, bid.account, qty, fill, bond_micros, block_id)
    emit_trade(market, position, ask.id, bid.id, None, fee_micros, ask.left, bid.left, entry.post())


def trade_resold_pair(market: Market, ask: Order, bid: Order, qty: int, fill: Fill, released_micros: int) -> None:
    """Trades GPUs of a reseller's positions, oldest first; the last trade returns the improvement."""
    tells_parts = rulesets.tells_parts_of_a_resale(market)
    for position_id, part in resale.parts_of_fill(market, ask, qty):
        qty -= part
        bid_left = bid.left + qty if tells_parts else bid.left
        part_micros = part * fill.cost_micros if qty else released_micros
        released_micros -= part_micros
        sold = resale.split(market, ask, position_id, bid.account, part, fill, None)
        icebergs.hide_excess(ask)
        if not ask.left:
            market.store.remove_order(ask)
        fee_micros = part * fill.fee_micros
        entry = market.entry(market.terms_of(ask.contract).currency).hold(bid.account, -part_micros)
        entry.add(bid.account, available=-sold.resale.paid_micros - fee_micros)
        postings = resale.pay_seller(entry, sold, fee_micros).post()
        emit_trade(market, sold.position, ask.id, bid.id, None, fee_micros, ask.left, bid_left, postings, sold)
