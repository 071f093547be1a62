"""Blocks: bids for the same GPUs over consecutive periods, taken and executed at once or kept until capacity comes.

A block is always the taker, since it trades at the asks' prices. A flex is a block with a choice of starts; once a part
of it has executed, it is a block at that start.
"""

from matching_engine.rules import cancels, identity, limits, products, throttle, vouchers
from matching_engine.rules.block_fills import fill_block
from matching_engine.rules.lots import choose, contracts_from, hold_unit_of, why_block_unfilled
from matching_engine.rules.market import Market
from matching_engine.rules.money import RESERVED, unit_micros
from matching_engine.rules.refusals import RuleBroken, require
from matching_engine.rules.state import Block
from schemas.events import BlockAccepted, BlockTrialsBounded
from schemas.orders import PlaceBlock
from schemas.venue import DefineProduct

# -- taking a block


def place_block(market: Market, command: PlaceBlock) -> None:
    """Takes a bid for the same GPUs over consecutive periods."""
    identity.once(market, command, decide_block)


def decide_block(market: Market, command: PlaceBlock) -> int:
    try:
        return decide(market, command)
    finally:
        market.drawing = None


def decide(market: Market, command: PlaceBlock) -> int:
    require(command.account not in RESERVED, "not_permitted")
    contracts = check_hours(market, command)
    product = market.state.products[command.product]
    products.require_trading(product, command.tif == "GTG")
    for contract in contracts:
        check_terms(command, market.terms_of(contract))
    require(command.min_qty <= command.qty, "bad_quantity")
    block = draft(market, command)
    check_limits(market, block, contracts)
    terms = product.newest
    vouchers.check_terms(command)
    if command.use_vouchers:
        gpu_periods = block.qty * block.periods
        market.drawing = vouchers.plan(market, command.account, terms, block.hold_micros, gpu_periods)
    else:
        market.accounts.require_available(command.account, terms.currency, block.hold_micros)
    if command.tif == "FOK":
        require_fillable(market, block)
    if market.drawing is not None:
        vouchers.lend(market, market.drawing, terms.currency)
    accept(market, block, command)
    if product.state != "OPEN":
        wait_for_opening(market, block)
        return block.id
    wanted, choice = block.left, fill_block(market, block)
    if block.left and block.tif != "GTG":
        cancels.cancel_block(market, block, "ioc_remainder", why_block_unfilled(choice, wanted))
    elif block.left:
        market.state.blocks[block.id] = block
    if market.drawing is not None:
        vouchers.assign(market, market.drawing, block.id, terms.currency)
    return block.id


def check_hours(market: Market, command: PlaceBlock) -> list[str]:
    """Returns the contracts of all hours that the block may come to need, each with its gate open."""
    product = market.state.products.get(command.product)
    require(product is not None, "unknown_product")
    latest_s = command.start_s if command.latest_s is None else command.latest_s
    choices, rest = divmod(latest_s - command.start_s, product.newest.period_s)
    require(choices >= 0 and rest == 0, "bad_terms")
    return products.require_open(market, command.product, command.start_s, command.periods + choices)


def check_terms(command: PlaceBlock, terms: DefineProduct) -> None:
    require(command.qty % terms.lot == 0 and command.min_qty % terms.lot == 0, "off_lot")
    require(command.limit_price_micros % terms.tick_micros == 0, "off_tick")


def draft(market: Market, command: PlaceBlock) -> Block:
    """Makes the block and its hold: cost and fee at the limit in every hour, at most `max_cost`."""
    block = Block(
        id=0,
        account=command.account,
        client_order_id=command.client_order_id,
        product=command.product,
        start_s=command.start_s,
        latest_s=command.start_s if command.latest_s is None else command.latest_s,
        periods=command.periods,
        qty=command.qty,
        min_qty=command.qty if command.tif == "FOK" else command.min_qty,
        left=command.qty,
        limit_price_micros=command.limit_price_micros,
        max_cost_micros=command.max_cost_micros,
        tif=command.tif,
        hold_unit_micros=0,
        hold_micros=0,
    )
    block.hold_unit_micros = hold_unit_of(market, block)
    whole_micros = command.qty * block.hold_unit_micros
    block.hold_micros = min(whole_micros, command.max_cost_micros or whole_micros)
    return block


def check_limits(market: Market, block: Block, contracts: list[str]) -> None:
    """A flex is held against the limits of all hours that it may come to need."""
    prices = dict.fromkeys(contracts, block.limit_price_micros)
    hours = contracts_from(market, block, block.start_s)
    unit = sum(unit_micros(market.terms_of(contract), block.limit_price_micros) for contract in hours)
    notional = min(block.qty * unit, block.max_cost_micros or block.qty * unit)
    intent = limits.Intent(block.account, "buy", block.qty, prices, notional)
    limits.check(market, market.state.products[block.product].newest.trading, intent)


def require_fillable(market: Market, block: Block) -> None:
    choice = choose(market, block)
    if not choice.lots:
        raise RuleBroken("fok_not_filled", why=why_block_unfilled(choice, block.qty))


def accept(market: Market, block: Block, command: PlaceBlock) -> None:
    market.state.last_order_id += 1
    block.id = market.state.last_order_id
    throttle.watch_accepted(market, block.account, block.product)
    currency = market.state.products[block.product].newest.currency
    market.emit(
        BlockAccepted,
        order_id=block.id,
        **command.model_dump(exclude={"type"}),
        postings=market.entry(currency).hold(block.account, block.hold_micros).post(),
    )


# -- blocks that wait


def wait_for_opening(market: Market, block: Block) -> None:
    """A block that came in an auction is tried when trading goes on."""
    market.state.blocks[block.id] = block
    market.state.pending_blocks.setdefault(block.product, []).append(block.id)


def serve_new_asks(market: Market, product: str, starts: list[int]) -> None:
    """What arriving capacity left over goes to resting blocks, oldest first. [M-31]"""
    period_s = market.state.products[product].newest.period_s
    pending = set(market.state.pending_blocks.get(product, ()))
    for block in market.state.blocks.values():
        end_s = block.latest_s + block.periods * period_s
        if block.product == product and any(block.start_s <= start_s < end_s for start_s in starts):
            pending.add(block.id)
    if pending:
        market.state.pending_blocks[product] = sorted(pending)
        go_on(market, product)


def go_on(market: Market, product: str) -> None:
    """Tries pending blocks, oldest first, until the product's bound on block–node trials is reached.

    A block is tried whole: the bound is looked at between blocks, and what it cuts off goes on at the next tick.
    """
    known = market.state.products[product]
    pending = market.state.pending_blocks.get(product, [])
    trials, bound = 0, known.newest.block_trials_per_command
    while pending and known.state == "OPEN" and trials < bound:
        trials += fill_block(market, market.state.blocks[pending.pop(0)]).trials
    if not pending:
        market.state.pending_blocks.pop(product, None)
    elif trials >= bound:
        market.emit(BlockTrialsBounded, product=product, trials=trials, bound=bound, waiting=len(pending))


def go_on_at_tick(market: Market) -> None:
    """Every product's pending blocks go on."""
    for product in sorted(market.state.pending_blocks):
        go_on(market, product)
