"""Blocks: the same GPUs of one node over consecutive periods, the cheapest average first, then oldest, then node id."""

from fractions import Fraction
from typing import Any

from schemas.events import WhyUnfilled
from tests.oracle import vouchers
from tests.oracle.limits import breaks, check
from tests.oracle.trading import cancel, deal, forget, offered, refill
from tests.oracle.world import (
    RESERVED,
    Refused,
    Thing,
    World,
    best,
    bid_unit,
    fee,
    held,
    name_at,
    need,
    need_open,
    need_trading,
    resting,
    start_of,
    terms_of,
    unit,
)


def starts_of(w: World, block: Thing) -> list[int]:
    return list(range(block.start, block.latest + 1, w.products[block.product].newest.period_s))


def hours_from(w: World, block: Thing, start: int) -> list[str]:
    product = w.products[block.product]
    return [name_at(product, start + step * product.newest.period_s) for step in range(block.periods)]


def need_from(w: World, block: Thing, start: int) -> int:
    """What a GPU may cost from a start on: the limit and the dearer fee in every hour."""
    return sum(bid_unit(terms_of(w, hour), block.price) for hour in hours_from(w, block, start))


def most_needed(w: World, block: Thing) -> int:
    """What the rest of a block may cost at most."""
    whole = block.left * block.unit
    return whole if block.max_cost is None else min(whole, block.max_cost - block.spent)


# -- choosing lots


def offers(w: World, block: Thing, hour: str, node: str | None = None) -> list[tuple[str, Thing, int, int | None]]:
    """Node, ask, GPUs and position of all that a book offers to the block, best first. [M-27]"""
    found = []
    for ask in resting(w, hour, "sell"):
        if ask.account != block.account and not vouchers.passes_over(w, ask):
            if ask.node is not None:
                found.append((ask.node, ask, ask.left, None))
            found += [(w.positions[each].node, ask, gpus, each) for each, gpus in sorted(ask.backing.items())]
    return [each for each in found if node in (None, each[0])]


def lots_at(w: World, hour: str, rows: list) -> list[tuple[int, int, int, int]]:
    """Cost, fee, price and age of every lot of one node in an hour, cheapest first; none that would halt trading."""
    terms, lots = terms_of(w, hour), []
    for _, ask, gpus, _ in rows:
        if breaks(w, hour, ask.price):
            break
        cost = unit(terms, ask.price)
        lots += [(cost, fee(cost, terms.taker_fee_bps), ask.price, ask.rank or ask.id)] * (gpus // terms.lot)
    return lots


def choose_from(w: World, block: Thing, start: int) -> Thing:
    """The lots that the block would take from a start on: the k-th of a node costs each hour's k-th cheapest.
    [M-28] [M-29]
    """
    hours = hours_from(w, block, start)
    books = [offers(w, block, hour) for hour in hours]
    nodes = {row[0] for row in books[0]}
    lots = []
    for node in nodes:
        columns = [
            lots_at(w, hour, [row for row in rows if row[0] == node]) for hour, rows in zip(hours, books, strict=True)
        ]
        for k, row in enumerate(zip(*columns, strict=False)):
            costs, fees, prices, ages = zip(*row, strict=True)
            lots.append((sum(costs), ages[0], node, k, sum(fees), sum(prices)))
    lots.sort()
    limit = sum(unit(terms_of(w, hour), block.price) for hour in hours)
    lot, most, spent, taken = w.products[block.product].newest.lot, need_from(w, block, start), block.spent, []
    reason = "no_node_free_in_all_hours"
    for cost, _, node, _, fees, _ in lots:
        spent += lot * (cost + fees)
        if len(taken) * lot == block.left:
            break
        if cost > limit or cost + fees > most:
            reason = "price"
            break
        if block.max_cost is not None and spent > block.max_cost:
            reason = "max_cost"
            break
        taken.append((node, cost + fees))
    if not nodes and best(w, hours[0], "sell") is not None:
        reason = "self_trade"
    price = -(-lots[0][5] // block.periods) if lots else None
    fitting = len(taken) * lot
    enough = block.qty - block.left + fitting >= block.min_qty
    fields = {"start": start, "hours": hours, "lots": taken if enough else [], "fitting": fitting, "price": price}
    return Thing(**fields, reason=reason, trials=max(1, len(nodes)))


def choose(w: World, block: Thing) -> Thing:
    """A flex starts where a GPU is cheapest on average, of equal starts at the earliest. [M-30]"""
    choices = [choose_from(w, block, start) for start in starts_of(w, block)]
    able = [each for each in choices if each.lots]
    if able:
        found = min(able, key=lambda each: (Fraction(sum(cost for _, cost in each.lots), len(each.lots)), each.start))
    else:
        found = min(choices, key=lambda each: (-each.fitting, each.price is None, each.price or 0, each.start))
    found.trials = sum(each.trials for each in choices)
    return found


def why(choice: Thing, wanted: int) -> WhyUnfilled:
    missing = wanted - choice.fitting
    return WhyUnfilled(reason=choice.reason, best_price_micros=choice.price, missing_gpus=missing)


# -- executing


def narrow(w: World, block: Thing, start: int, latest: int) -> None:
    """Leaves a flex these starts, and what it may need for them."""
    block.start, block.latest = start, latest
    block.unit = max(need_from(w, block, each) for each in starts_of(w, block))
    released = block.hold - most_needed(w, block)
    block.hold -= released
    names = {"order_id": block.id, "account": block.account, "client_order_id": block.coid, "product": block.product}
    postings = w.post(held(block.account, w.products[block.product].newest.currency, -released))
    w.emit("flex_narrowed", **names, start_s=start, latest_s=latest, postings=postings)


def execute(w: World, block: Thing) -> Thing:
    """Trades what the block can have now, node by node and hour by hour; the last trade returns the improvement."""
    choice = choose(w, block)
    if not choice.lots:
        return choice
    if block.start < block.latest:
        narrow(w, block, choice.start, choice.start)
    lot = w.products[block.product].newest.lot
    per_node: dict[str, int] = {}
    for node, _ in choice.lots:
        per_node[node] = per_node.get(node, 0) + lot
    spent = lot * sum(cost for _, cost in choice.lots)
    improvement = spend(w, block, len(choice.lots) * lot, spent)
    legs = [(node, qty, hour) for node, qty in per_node.items() for hour in choice.hours]
    for step, (node, qty, hour) in enumerate(legs, start=1):
        while qty:
            _, ask, gpus, position_id = offers(w, block, hour, node)[0]
            part = min(qty, gpus, offered(ask))
            qty -= part
            terms = terms_of(w, hour)
            cost = unit(terms, ask.price)
            released = part * (cost + fee(cost, terms.taker_fee_bps))
            released += improvement if step == len(legs) and not qty else 0
            ask.shown -= part if ask.display is not None else 0
            ends = (lambda released=released: released, ask, block, "buy", position_id)
            deal(w, ask, block, part, ask.price, terms.taker_fee_bps, *ends)
            refill(w, ask)
    if not block.left:
        forget(w, block)
    return choice


def spend(w: World, block: Thing, qty: int, amount: int) -> int:
    """Takes a fill off a block. Returns what comes back beyond what was spent."""
    block.left -= qty
    block.spent += amount
    improvement = block.hold - amount - most_needed(w, block)
    block.hold = most_needed(w, block)
    return improvement


# -- taking a block


def place_block(w: World, command: Any) -> int:
    need(command.account not in RESERVED, "not_permitted")
    product = w.products.get(command.product)
    need(product, "unknown_product")
    latest = command.start_s if command.latest_s is None else command.latest_s
    choices, rest = divmod(latest - command.start_s, product.newest.period_s)
    need(choices >= 0 and rest == 0, "bad_terms")
    hours = need_open(w, command.product, command.start_s, command.periods + choices)
    need_trading(product, command.tif == "GTG")
    for terms in (terms_of(w, hour) for hour in hours):
        need(command.qty % terms.lot == 0 and command.min_qty % terms.lot == 0, "off_lot")
        need(command.limit_price_micros % terms.tick_micros == 0, "off_tick")
    need(command.min_qty <= command.qty, "bad_quantity")
    block = draft(w, command, latest)
    cost = block.qty * sum(unit(terms_of(w, hour), block.price) for hour in hours_from(w, block, block.start))
    cost = min(cost, block.max_cost or cost)
    check(w, product, block.account, "buy", block.qty, dict.fromkeys(hours, block.price), cost, 1)
    vouchers.check_terms(command)
    money = product.newest.currency
    if command.use_vouchers:
        w.drawing = vouchers.plan(w, block.account, product.newest, block.hold, block.qty * block.periods)
    else:
        w.need_money(block.account, money, block.hold)
    choice = choose(w, block) if command.tif == "FOK" else None
    if choice and not choice.lots:
        raise Refused("fok_not_filled", why=why(choice, block.qty))
    if w.drawing:
        vouchers.lend(w, money)
    block.id = w.next("order")
    postings = w.post(held(block.account, money, block.hold))
    w.emit("block_accepted", order_id=block.id, **command.model_dump(exclude={"type"}), postings=postings)
    if product.state != "OPEN":
        w.live[block.id] = block
        w.pending.setdefault(block.product, []).append(block.id)
        return block.id
    wanted, choice = block.left, execute(w, block)
    if block.left and block.tif != "GTG":
        cancel(w, block, "ioc_remainder", why(choice, wanted))
    elif block.left:
        w.live[block.id] = block
    if w.drawing:
        vouchers.assign(w, block.id, money)
    return block.id


def draft(w: World, command: Any, latest: int) -> Thing:
    """Makes the block with the most that it may need. [C-7]"""
    names = {"account": command.account, "coid": command.client_order_id, "product": command.product, "kind": "block"}
    terms = {"qty": command.qty, "left": command.qty, "price": command.limit_price_micros, "tif": command.tif}
    terms |= {"max_cost": command.max_cost_micros, "periods": command.periods, "start": command.start_s}
    none = {"id": 0, "contract": None, "side": "buy", "backing": {}, "spent": 0, "display": None, "shown": 0}
    block = Thing(**names, **terms, **none, latest=latest, node=None)
    block.min_qty = command.qty if command.tif == "FOK" else command.min_qty
    block.unit = max(need_from(w, block, start) for start in starts_of(w, block))
    whole = block.qty * block.unit
    block.hold = min(whole, block.max_cost or whole)
    return block


# -- blocks that wait


def serve(w: World, name: str, starts: list[int]) -> None:
    """New asks go to the blocks that wait for their hours, the oldest first. [M-31]"""
    period = w.products[name].newest.period_s
    waiting = set(w.pending.get(name, ()))
    for each in w.live.values():
        if each.kind == "block" and each.product == name:
            end = each.latest + each.periods * period
            waiting |= {each.id} if any(each.start <= start < end for start in starts) else set()
    if waiting:
        w.pending[name] = sorted(waiting)
        go_on(w, name)


def go_on(w: World, name: str) -> None:
    """Tries waiting blocks until the bound on block-node trials is reached; the next tick goes on."""
    product, pending, trials = w.products[name], w.pending.get(name, []), 0
    bound = product.newest.block_trials_per_command
    while pending and product.state == "OPEN" and trials < bound:
        trials += execute(w, w.live[pending.pop(0)]).trials
    if not pending:
        w.pending.pop(name, None)
    elif trials >= bound:
        w.emit("block_trials_bounded", product=name, trials=trials, bound=bound, waiting=len(pending))


def tick(w: World) -> None:
    for name in sorted(w.pending):
        go_on(w, name)


def gate(w: World, name: str, start: int) -> list[Thing]:
    """The blocks that begin at a gate that closes, oldest first."""
    blocks = [each for each in w.live.values() if each.kind == "block"]
    return sorted((each for each in blocks if (each.product, each.start) == (name, start)), key=lambda each: each.id)


def touches(w: World, each: Thing, command: Any) -> bool:
    """Whether an order fits a mass cancel's filters; a block is a bid of no one contract, from first to last hour."""
    if each.kind == "block":
        product, first = each.product, each.start
        last = each.latest + (each.periods - 1) * w.products[product].newest.period_s
    else:
        product = each.contract.rpartition("-")[0]
        first = last = start_of(each.contract)
    pairs = (command.product, product), (command.contract, each.contract), (command.side, each.side)
    in_time = (command.from_s is None or last >= command.from_s) and (command.to_s is None or first < command.to_s)
    return in_time and all(wanted in (None, has) for wanted, has in pairs)
