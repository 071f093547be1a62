"""Same-node blocks: walking nodes that are free in all hours, "cheapest average first, then oldest, then lowest id".

Readings of MARKET.md that this file settles: a block is always the taker, since it trades at the asks' prices; it
passes over nodes of its own account; `min_qty` bounds what has traded after an execution, so the first one brings at
least that many GPUs and what is left may then fill lot by lot; the walk ends at the first lot that does not fit.
"""

from dataclasses import dataclass, field

from matching_engine.reference import cancels, identity, products
from matching_engine.reference.market import Market
from matching_engine.reference.matching import Fill, emit_trade, fill_at, open_position, take_ask
from matching_engine.reference.money import RESERVED, VENUE, hold_unit_micros, unit_micros
from matching_engine.reference.refusals import Refused, require
from matching_engine.reference.state import Block, Order
from schemas.events import BlockAccepted, WhyUnfilled
from schemas.ids import contract_name
from schemas.orders import PlaceBlock
from schemas.venue import DefineProduct


@dataclass(frozen=True, order=True)
class Lot:
    """One lot of a node over all hours of a block, in the order in which lots are taken. Amounts are per GPU."""

    unit_micros: int
    age: int
    node: str
    rank: int
    fee_micros: int = field(compare=False)
    price_sum_micros: int = field(compare=False)


@dataclass
class Choice:
    """The lots that a block would take now, and why it would take no more."""

    lots: list[Lot]
    reason: str | None
    best_price_micros: int | None
    trials: int


# -- taking a block


def place_block(market: Market, command: PlaceBlock) -> None:
    """Takes a bid for the same GPUs over consecutive periods."""
    identity.once(market, command, decide_block)


def decide_block(market: Market, command: PlaceBlock) -> int:
    require(command.account not in RESERVED, "not_permitted")
    contracts = products.require_open(market, command.product, command.start_s, command.periods)
    product = market.state.products[command.product]
    products.require_trading(product)
    for contract in contracts:
        check_terms(command, market.terms_of(contract))
    require(command.min_qty <= command.qty, "bad_quantity")
    block = draft(market, command, contracts)
    market.accounts.require(command.account, product.newest.currency, block.hold_micros)
    if command.tif == "FOK":
        require_fillable(market, block)
    accept(market, block, command)
    choice = execute(market, block)
    if block.left and block.tif != "GTG":
        cancels.cancel_block(market, block, "ioc_remainder", why_unfilled(market, choice, block.left))
    elif block.left:
        market.state.blocks[block.id] = block
    return block.id


def check_terms(command: PlaceBlock, terms: DefineProduct) -> None:
    require(command.qty % terms.lot == 0 and command.min_qty % terms.lot == 0, "off_lot")
    require(command.limit_price_micros % terms.tick_micros == 0, "off_tick")


def draft(market: Market, command: PlaceBlock, contracts: list[str]) -> Block:
    """Makes the block and its hold: cost and fee at the limit in every hour, at most `max_cost`."""
    unit = sum(hold_unit_micros(market.terms_of(contract), command.limit_price_micros) for contract in contracts)
    whole_micros = command.qty * unit
    return Block(
        id=0,
        account=command.account,
        client_order_id=command.client_order_id,
        product=command.product,
        start_s=command.start_s,
        periods=command.periods,
        qty=command.qty,
        min_qty=command.min_qty,
        left=command.qty,
        limit_price_micros=command.limit_price_micros,
        max_cost_micros=command.max_cost_micros,
        tif=command.tif,
        hold_unit_micros=unit,
        hold_micros=min(whole_micros, command.max_cost_micros or whole_micros),
    )


def require_fillable(market: Market, block: Block) -> None:
    choice = choose(market, block)
    gpus = len(choice.lots) * lot_gpus(market, block)
    if gpus < block.qty:
        raise Refused("fok_not_filled", why=why_unfilled(market, choice, block.qty - gpus))


def accept(market: Market, block: Block, command: PlaceBlock) -> None:
    market.state.last_order_id += 1
    block.id = market.state.last_order_id
    currency = market.state.products[block.product].newest.currency
    market.emit(
        BlockAccepted,
        order_id=block.id,
        **command.model_dump(exclude={"type"}),
        postings=market.entry(currency).hold(block.account, block.hold_micros).post(),
    )


def why_unfilled(market: Market, choice: Choice, missing_gpus: int) -> WhyUnfilled:
    reason = choice.reason or "no_node_free_in_all_hours"
    return WhyUnfilled(reason=reason, best_price_micros=choice.best_price_micros, missing_gpus=missing_gpus)


# -- choosing lots


def contracts_of(market: Market, block: Block) -> list[str]:
    """The contracts of the block's hours."""
    period_s = market.state.products[block.product].newest.period_s
    starts = (block.start_s + step * period_s for step in range(block.periods))
    return [contract_name(block.product, start_s, period_s) for start_s in starts]


def lot_gpus(market: Market, block: Block) -> int:
    return market.terms_of(contracts_of(market, block)[0]).lot


def choose(market: Market, block: Block) -> Choice:
    """Picks the lots a block would take now; none where they are fewer than it accepts."""
    contracts = contracts_of(market, block)
    hours = [asks_by_node(market, contract) for contract in contracts]
    others = [node for node in hours[0] if market.state.nodes[node].account != block.account]
    lots = sorted(lot for node in others for lot in lots_of(market, block, contracts, node, hours))
    taken, reason = take_while_fitting(market, block, contracts, lots)
    best = -(-lots[0].price_sum_micros // block.periods) if lots else None
    if not lots and len(others) < len(hours[0]):
        reason = "self_trade"
    done = block.qty - block.left + len(taken) * lot_gpus(market, block)
    if done < block.min_qty:
        taken = []
    return Choice(taken, reason, best, max(1, len(others)))


def asks_by_node(market: Market, contract: str) -> dict[str, list[Order]]:
    """The asks of a book, by node, each node's best first."""
    nodes: dict[str, list[Order]] = {}
    for ask in market.resting(contract, "sell"):
        nodes.setdefault(ask.node, []).append(ask)
    return nodes


def lots_of(
    market: Market, block: Block, contracts: list[str], node: str, hours: list[dict[str, list[Order]]]
) -> list[Lot]:
    """ "A node's k-th GPU costs the sum over the hours of each hour's k-th cheapest lot, its age is that of its first
    hour's ask"; a node without an ask in some hour has no lots.
    """
    columns = [
        lots_of_hour(market, *hour) for hour in zip(contracts, (asks.get(node, []) for asks in hours), strict=True)
    ]
    lots = []
    for rank, row in enumerate(zip(*columns, strict=False)):
        fills = [fill for fill, _ in row]
        lots.append(
            Lot(
                unit_micros=sum(fill.unit_micros for fill in fills),
                age=row[0][1],
                node=node,
                rank=rank,
                fee_micros=sum(fill.fee_micros for fill in fills),
                price_sum_micros=sum(fill.price_micros for fill in fills),
            )
        )
    return lots


def lots_of_hour(market: Market, contract: str, asks: list[Order]) -> list[tuple[Fill, int]]:
    """One entry for each lot a node offers in an hour, cheapest first: its cost and the id of its ask."""
    terms = market.terms_of(contract)
    return [
        (fill_at(terms, ask.price_micros, terms.taker_fee_bps), ask.id)
        for ask in asks
        for _ in range(ask.left // terms.lot)
    ]


def take_while_fitting(
    market: Market, block: Block, contracts: list[str], lots: list[Lot]
) -> tuple[list[Lot], str | None]:
    """Takes lots in order up to the quantity, the limit on the average, the money held, and `max_cost`."""
    limit_micros = sum(unit_micros(market.terms_of(contract), block.limit_price_micros) for contract in contracts)
    gpus = lot_gpus(market, block)
    taken: list[Lot] = []
    spent_micros = block.spent_micros
    for lot in lots:
        if len(taken) * gpus == block.left:
            return taken, None
        cost_micros = lot.unit_micros + lot.fee_micros
        if lot.unit_micros > limit_micros or cost_micros > block.hold_unit_micros:
            return taken, "price"
        spent_micros += gpus * cost_micros
        if block.max_cost_micros is not None and spent_micros > block.max_cost_micros:
            return taken, "max_cost"
        taken.append(lot)
    return taken, None if len(taken) * gpus == block.left else "no_node_free_in_all_hours"


# -- trading them


def execute(market: Market, block: Block) -> Choice:
    """Trades what the block can have now, node by node in the order chosen, each hour at its own asks' prices."""
    choice = choose(market, block)
    gpus = lot_gpus(market, block)
    per_node: dict[str, int] = {}
    for lot in choice.lots:
        per_node[lot.node] = per_node.get(lot.node, 0) + gpus
    block.left -= len(choice.lots) * gpus
    spent_before = block.spent_micros
    block.spent_micros += sum(gpus * (lot.unit_micros + lot.fee_micros) for lot in choice.lots)
    improvement = shrink_hold(block, block.spent_micros - spent_before)
    hours = [(contract, node, qty) for node, qty in per_node.items() for contract in contracts_of(market, block)]
    for step, (contract, node, qty) in enumerate(hours, start=1):
        take_hour(market, block, contract, node, qty, improvement if step == len(hours) else 0)
    if not block.left:
        cancels.forget_block(market, block)
    return choice


def shrink_hold(block: Block, spent_micros: int) -> int:
    """Lowers the hold to what the rest may cost. Returns what comes back beyond what was spent."""
    needed_micros = block.left * block.hold_unit_micros
    if block.max_cost_micros is not None:
        needed_micros = min(needed_micros, block.max_cost_micros - block.spent_micros)
    improvement = block.hold_micros - spent_micros - needed_micros
    block.hold_micros = needed_micros
    return improvement


def take_hour(market: Market, block: Block, contract: str, node: str, qty: int, improvement: int) -> None:
    """Takes GPUs of a node from its asks of one hour, cheapest first; the last trade of all returns the improvement."""
    terms = market.terms_of(contract)
    for ask in asks_by_node(market, contract)[node]:
        part = min(qty, ask.left)
        qty -= part
        fill = fill_at(terms, ask.price_micros, terms.taker_fee_bps)
        bond_micros = take_ask(market, ask, part)
        if not ask.left:
            market.unrest(ask)
        fee_micros = part * fill.fee_micros
        back = 0 if qty else improvement
        entry = market.entry(terms.currency).hold(block.account, -back)
        entry.add(block.account, held=-fee_micros).add(VENUE, available=fee_micros)
        position = open_position(market, ask, block.account, part, fill, bond_micros, block.id)
        emit_trade(market, position, ask.id, block.id, "buy", fee_micros, ask.left, block.left, entry.post())
        if not qty:
            return


# -- blocks that wait


def serve_new_asks(market: Market, product: str, starts: list[int]) -> None:
    """What arriving capacity left over "goes to resting blocks, oldest first"."""
    period_s = market.state.products[product].newest.period_s
    pending = set(market.state.pending_blocks.get(product, ()))
    for block in market.state.blocks.values():
        end_s = block.start_s + block.periods * period_s
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
    trials = 0
    while pending and known.state == "OPEN" and trials < known.newest.block_trials_per_command:
        trials += execute(market, market.state.blocks[pending.pop(0)]).trials
    if not pending:
        market.state.pending_blocks.pop(product, None)


def go_on_at_tick(market: Market) -> None:
    """Every product's pending blocks go on."""
    for product in sorted(market.state.pending_blocks):
        go_on(market, product)
