"""How a block trades the lots it has chosen: node by node, each hour at its own asks' prices."""

from matching_engine.rules import cancels, icebergs, resale
from matching_engine.rules.fills import fill_at
from matching_engine.rules.flexes import narrow, needed_micros
from matching_engine.rules.lots import Choice, Offer, choose, contracts_from, first_offer, lot_gpus
from matching_engine.rules.market import Market
from matching_engine.rules.matching import emit_trade, fill_ask, open_position
from matching_engine.rules.money import VENUE
from matching_engine.rules.state import Block


def fill_block(market: Market, block: Block) -> Choice:
    """Trades what the block can have now. At most one executes: a flex is at this start from now on."""
    choice = choose(market, block)
    if not choice.lots:
        return choice
    if block.start_s < block.latest_s:
        narrow(market, block, choice.start_s, choice.start_s)
    gpus = lot_gpus(market, block)
    per_node: dict[str, int] = {}
    for lot in choice.lots:
        per_node[lot.node] = per_node.get(lot.node, 0) + gpus
    block.left -= len(choice.lots) * gpus
    cost_micros = sum(gpus * lot.cost_micros for lot in choice.lots)
    block.spent_micros += cost_micros
    improvement = shrink_hold(block, cost_micros)
    contracts = contracts_from(market, block, choice.start_s)
    hours = [(contract, node, qty) for node, qty in per_node.items() for contract in contracts]
    for step, (contract, node, qty) in enumerate(hours, start=1):
        fill_hour(market, block, contract, node, qty, improvement if step == len(hours) else 0)
    if not block.left:
        cancels.forget_block(market, block)
    return choice


def shrink_hold(block: Block, cost_micros: int) -> int:
    """Lowers the hold to what the rest may cost. Returns what comes back beyond what was spent."""
    improvement = block.hold_micros - cost_micros - needed_micros(block)
    block.hold_micros = needed_micros(block)
    return improvement


def fill_hour(market: Market, block: Block, contract: str, node: str, qty: int, improvement: int) -> None:
    """Takes GPUs of a node from its asks of one hour, cheapest first; the last trade of all returns the improvement."""
    while qty:
        offer = first_offer(market, block, contract, node)
        part = min(qty, offer.gpus, icebergs.shown(offer.ask))
        qty -= part
        fill_offer(market, block, offer, part, 0 if qty else improvement)


def fill_offer(market: Market, block: Block, offer: Offer, qty: int, improvement: int) -> None:
    """One trade: what the operator offers becomes a position, what a reseller offers splits off from his."""
    ask, terms = offer.ask, market.terms_of(offer.ask.contract)
    fill = fill_at(terms, ask.price_micros, terms.taker_fee_bps)
    fee_micros = qty * fill.fee_micros
    entry = market.entry(terms.currency).hold(block.account, -improvement).add(block.account, held=-fee_micros)
    sold = None
    if offer.position_id is None:
        position = open_position(market, ask, block.account, qty, fill, fill_ask(market, ask, qty), block.id)
        entry.add(VENUE, available=fee_micros)
    else:
        sold = resale.split(market, ask, offer.position_id, block.account, qty, fill, block.id)
        position = sold.position
        resale.pay_seller(entry.add(block.account, held=-sold.resale.paid_micros), sold, fee_micros)
    icebergs.reduce_shown(ask, qty)
    if not ask.left:
        market.store.remove_order(ask)
    left = ask.left, block.left
    emit_trade(market, position, ask.id, block.id, "buy", fee_micros, *left, entry.post(), sold)
    icebergs.refill(market, ask)
