"""A flex's choice of starts narrows: a gate closes on the earliest, or it executes and is a block at one start."""

from matching_engine.rules.lots import hold_unit_of
from matching_engine.rules.market import Market
from matching_engine.rules.state import Block
from schemas.events import FlexNarrowed


def move_on(market: Market, block: Block) -> None:
    """A flex moves on when a start's gate closes, until `latest`. [M-5]"""
    period_s = market.state.products[block.product].newest.period_s
    narrow(market, block, block.start_s + period_s, block.latest_s)


def narrow(market: Market, block: Block, start_s: int, latest_s: int) -> None:
    """Leaves the flex these starts and what it may need for them."""
    block.start_s, block.latest_s = start_s, latest_s
    block.hold_unit_micros = hold_unit_of(market, block)
    released = block.hold_micros - needed_micros(block)
    block.hold_micros -= released
    currency = market.state.products[block.product].newest.currency
    market.emit(
        FlexNarrowed,
        order_id=block.id,
        account=block.account,
        client_order_id=block.client_order_id,
        product=block.product,
        start_s=start_s,
        latest_s=latest_s,
        postings=market.entry(currency).hold(block.account, -released).post(),
    )


def needed_micros(block: Block) -> int:
    """What the rest of a block may cost at most."""
    whole_micros = block.left * block.hold_unit_micros
    if block.max_cost_micros is None:
        return whole_micros
    return min(whole_micros, block.max_cost_micros - block.spent_micros)
