"""Call auctions: orders rest, and leave at one price: most volume, least surplus, nearest the reference, the lowest."""

from collections import Counter
from fractions import Fraction
from typing import Any

from tests.oracle.blocks import hours_from, spend
from tests.oracle.trading import deal, forget, is_resale, parts_of, take_bid
from tests.oracle.world import Thing, World, fee, reference, resting, terms_of, unit

# -- the price


def equilibrium(w: World, contract: str, bids: list[Thing], asks: list[Thing], extra: int = 0) -> Thing | None:
    """Where a book clears with `extra` GPUs wanted at any price: every order's price and what lies beside is tried.
    [M-36]
    """
    tick, around = terms_of(w, contract).tick_micros, reference(w, contract)
    prices = {each.price for each in (*bids, *asks)}
    tried = prices | {price + step for price in prices for step in (-tick, tick)}
    if around is not None and prices:
        low = around // tick * tick
        tried |= {price for price in (low, low + tick) if min(prices) <= price <= max(prices)}
    found = None
    for price in sorted(each for each in tried if prices and min(prices) <= each <= max(prices)):
        wanted = extra + sum(each.left for each in bids if each.price >= price)
        offered = sum(each.left for each in asks if each.price <= price)
        away = 0 if around is None else abs(price - around)
        rank = (-min(wanted, offered), abs(wanted - offered), away, price)
        if min(wanted, offered) and (found is None or rank < found.rank):
            side = None if wanted == offered else "buy" if wanted > offered else "sell"
            found = Thing(rank=rank, price=price, qty=min(wanted, offered), surplus=rank[1], side=side)
    return found


def books(w: World, contract: str) -> tuple[list[Thing], list[Thing]]:
    return resting(w, contract, "buy"), resting(w, contract, "sell")


def open_contracts(w: World, name: str) -> list[Thing]:
    known = [each for each in w.contracts.values() if (each.product, each.state) == (name, "OPEN")]
    return sorted(known, key=lambda each: each.start)


def indicate(w: World) -> None:
    """At a tick every book in auction tells where it would clear, if that is not what it told last. [M-38]"""
    for name in sorted(w.products):
        for known in open_contracts(w, name) if w.products[name].state == "AUCTION" else ():
            found = equilibrium(w, known.name, *books(w, known.name))
            told = (found.price, found.qty, found.surplus, found.side) if found else None
            if told != known.indicated:
                known.indicated = told
                price, qty, surplus, side = told or (None, 0, 0, None)
                fields = {"contract": known.name, "price_micros": price, "qty": qty, "surplus_qty": surplus}
                around = reference(w, known.name)
                w.emit("auction_indicated", **fields, surplus_side=side, reference_micros=around)


# -- trading at it


def winners(w: World, contract: str, side: str, price: int, qty: int) -> list[tuple[Thing, int]]:
    """The orders of a side that trade at the price, by priority, and the GPUs of each."""
    chosen = []
    for each in resting(w, contract, side):
        if qty and (each.price >= price if side == "buy" else each.price <= price):
            chosen.append((each, min(qty, each.left)))
            qty -= chosen[-1][1]
    return chosen


def take(w: World, ask: Thing, bid: Thing, qty: int, price: int, released: int) -> None:
    """Trades GPUs of an ask with a bid that has been filled already; of a resale the last part returns the rest."""
    terms = terms_of(w, ask.contract)
    cost = unit(terms, price) + fee(unit(terms, price), terms.maker_fee_bps)
    for position_id, part in parts_of(ask, qty):
        qty -= part
        out = part * cost if qty else released
        released -= out
        ends = (ask, bid, None, position_id, qty)
        ask.shown = min(ask.shown, ask.left - part)
        deal(w, ask, bid, part, price, terms.maker_fee_bps, lambda out=out: out, *ends)


def uncross(w: World, contract: str, found: Thing, served: Counter[str]) -> None:
    """Trades the bids of one hour with the asks that blocks do not need; of each node's asks the last are kept.
    [M-37]
    """
    w.contracts[contract].recent = []
    surplus = {"surplus_qty": found.surplus, "surplus_side": found.side}
    fields = {"contract": contract, "price_micros": found.price, "qty": found.qty}
    w.emit("auction_uncrossed", **fields, **surplus, reference_micros=reference(w, contract))
    kept, asks = Counter(served), []
    for ask, qty in reversed(winners(w, contract, "sell", found.price, found.qty)):
        part = min(qty, kept[ask.node])
        kept[ask.node] -= part
        if qty > part:
            asks.insert(0, [ask, qty - part])
    terms = terms_of(w, contract)
    cost = unit(terms, found.price) + fee(unit(terms, found.price), terms.maker_fee_bps)
    for bid, wanted in winners(w, contract, "buy", found.price, found.qty - sum(served.values())):
        while wanted:
            ask, offered = asks[0]
            part = min(wanted, offered)
            wanted -= part
            asks[0][1] -= part
            if part == offered:
                asks.pop(0)
            released = take_bid(bid, part, cost)
            bid.shown = min(bid.shown, bid.left)
            take(w, ask, bid, part, found.price, released)


def uncross_product(w: World, name: str) -> None:
    contracts = [each.name for each in open_contracts(w, name)]
    rounds = w.products[name].newest.trading.auction_block_rounds
    if rounds:
        with_blocks(w, name, contracts, rounds)
        return
    for contract in contracts:
        found = equilibrium(w, contract, *books(w, contract))
        if found:
            uncross(w, contract, found, Counter())


# -- with blocks: one price an hour, each of a block's GPUs on one node throughout


def with_blocks(w: World, name: str, contracts: list[str], rounds: int) -> None:
    """Finds prices and nodes for the blocks that wait, round by round, and trades. [M-39]"""
    bidders = []
    for block in sorted((each for each in w.live.values() if each.kind == "block"), key=lambda each: each.id):
        if block.product == name and block.start == block.latest:
            hours = hours_from(w, block, block.start)
            limit = sum(unit(terms_of(w, hour), block.price) for hour in hours)
            bidders.append(Thing(block=block, hours=hours, limit=limit, wanted=block.left, reason=None))
    hours = sorted({*contracts, *(hour for each in bidders for hour in each.hours)})
    this = settle(w, bidders, hours, rounds)
    served = {hour: Counter() for hour in hours}
    for each, nodes in this.served:
        for hour in each.hours:
            served[hour].update(nodes)
    for hour in hours:
        if this.found[hour]:
            uncross(w, hour, this.found[hour], served[hour])
    for each, nodes in this.served:
        if nodes:
            trade_block(w, this, each, nodes)
    for each in bidders:
        if each.reason:
            tell_rejected(w, this, each)


def costs(w: World, this: Thing, each: Thing) -> list[tuple[int, int]] | None:
    """Cost and fee of a GPU in each hour at the round's prices; None where an hour has none."""
    rows = []
    for hour in each.hours:
        if this.found[hour] is None:
            return None
        terms = terms_of(w, hour)
        cost = unit(terms, this.found[hour].price)
        rows.append((cost, fee(cost, terms.maker_fee_bps)))
    return rows


def play(w: World, bidders: list[Thing], hours: list[str]) -> Thing:
    """One round: prices for what the blocks ask for, then who cannot pay them, then who finds no nodes."""
    extra = Counter()
    for each in bidders:
        extra.update(dict.fromkeys(each.hours, each.wanted))
    found = {hour: equilibrium(w, hour, *books(w, hour), extra[hour]) for hour in hours}
    this = Thing(found=found, dear=[], nodeless=[], served=[])
    asking = [each for each in bidders if each.wanted]
    for each in asking:
        rows, block = costs(w, this, each), each.block
        if rows is None:
            continue
        cost, whole = sum(cost for cost, _ in rows), sum(map(sum, rows))
        loss = max(cost - each.limit, whole - block.unit)
        if loss > 0:
            this.dear.append((Fraction(loss, block.periods), block.id, each, 0, "price"))
        elif block.max_cost is not None and block.spent + each.wanted * whole > block.max_cost:
            lot = w.products[block.product].newest.lot
            left = (block.max_cost - block.spent) // whole // lot * lot
            this.dear.append((Fraction(0), block.id, each, left, "max_cost"))
    if not this.dear:
        give_nodes(w, this, sorted(asking, key=lambda each: (-each.block.price, each.block.id)))
    return this


def give_nodes(w: World, this: Thing, bidders: list[Thing]) -> None:
    """The highest limit chooses first: nodes whose executed asks reach through all its hours, the first ask's first.
    [M-40]
    """
    sold: dict[str, list] = {}
    for hour in {hour for each in bidders for hour in each.hours}:
        found = this.found[hour]
        rows = winners(w, hour, "sell", found.price, found.qty) if found else ()
        sold[hour] = [[ask, qty] for ask, qty in rows if not is_resale(ask)]
    left = {hour: Counter() for hour in sold}
    for hour, rows in sold.items():
        for ask, qty in rows:
            left[hour][ask.node] += qty
    for each in bidders:
        got, missing, lot = {}, each.wanted, w.products[each.block.product].newest.lot
        first: dict[str, int] = {}
        for ask, _ in sold[each.hours[0]]:
            first.setdefault(ask.node, ask.id)
        own = {ask.node for hour in each.hours for ask, _ in sold[hour] if ask.account == each.block.account}
        for node in sorted(first, key=lambda node: (first[node], node)):
            part = min(missing, min(left[hour][node] for hour in each.hours) // lot * lot)
            if part > 0 and node not in own:
                got[node] = part
                missing -= part
        if missing:
            this.nodeless.append((each, each.wanted - missing))
        this.served.append((each, got))
        for hour in each.hours:
            left[hour].subtract(got)


def settle(w: World, bidders: list[Thing], hours: list[str], rounds: int) -> Thing:
    """Round after round the worst block goes; after so many rounds all that fail at once, at last everybody."""
    for number in range(2 * rounds):
        this = play(w, bidders, hours)
        if not (this.dear or this.nodeless):
            return bring_back(w, this, bidders, hours, rounds)
        failing = [row[2:] for row in sorted(this.dear, key=lambda row: row[:2], reverse=True)]
        failing = failing or [(*row, "no_node_free_in_all_hours") for row in this.nodeless]
        for each, left, reason in failing if number >= rounds else failing[:1]:
            cut(each, left, reason)
    for each in bidders:
        if each.wanted:
            cut(each, 0, "rounds_exhausted")
    return play(w, bidders, hours)


def cut(each: Thing, left: int, reason: str) -> None:
    """A block goes on with fewer GPUs, or with none where they are fewer than it accepts."""
    enough = each.block.qty - each.block.left + left >= each.block.min_qty
    each.wanted, each.reason = left if enough else 0, reason


def gain(w: World, this: Thing, each: Thing) -> Fraction | None:
    rows = costs(w, this, each)
    return None if rows is None else Fraction(each.limit - sum(cost for cost, _ in rows), each.block.periods)


def bring_back(w: World, this: Thing, bidders: list[Thing], hours: list[str], tries: int) -> Thing:
    """Blocks that the prices would suit after all are tried again, the one that gains most first."""
    short = [each for each in bidders if each.reason != "max_cost" and each.wanted < each.block.left]
    gains = [(gain(w, this, each), -each.block.id, each) for each in short]
    suited = [row for row in gains if row[0] is not None and row[0] >= 0]
    for _, _, each in sorted(suited, key=lambda row: row[:2], reverse=True)[:tries]:
        before, each.wanted = each.wanted, each.block.left
        other = play(w, bidders, hours)
        if other.dear or other.nodeless:
            each.wanted, each.reason = before, "price" if other.dear else "no_node_free_in_all_hours"
        else:
            this, each.reason = other, None
    return this


def trade_block(w: World, this: Thing, each: Thing, nodes: dict[str, int]) -> None:
    rows, block, qty = costs(w, this, each), each.block, sum(nodes.values())
    improvement = spend(w, block, qty, qty * sum(map(sum, rows)))
    legs = [
        (hour, *row, node, gpus) for node, gpus in nodes.items() for hour, row in zip(each.hours, rows, strict=True)
    ]
    for step, (hour, cost, fees, node, wanted) in enumerate(legs, start=1):
        gpus = wanted
        for ask in [ask for ask in resting(w, hour, "sell") if ask.node == node]:
            part = min(gpus, ask.left)
            gpus -= part
            released = part * (cost + fees) + (improvement if step == len(legs) and not gpus else 0)
            take(w, ask, block, part, this.found[hour].price, released)
            if not gpus:
                break
    if not block.left:
        forget(w, block)


def tell_rejected(w: World, this: Thing, each: Thing) -> None:
    block, rows, gained = each.block, costs(w, this, each), gain(w, this, each)
    suits = gained is not None and gained >= 0
    names: dict[str, Any] = {"order_id": block.id, "account": block.account, "client_order_id": block.coid}
    names |= {"product": block.product, "start_s": block.start, "periods": block.periods, "qty_rejected": block.left}
    w.emit(
        "auction_block_rejected",
        **names,
        limit_sum_micros=each.limit,
        cost_sum_micros=None if rows is None else sum(cost for cost, _ in rows),
        reason="paradoxical" if suits and each.reason == "price" else each.reason,
    )
