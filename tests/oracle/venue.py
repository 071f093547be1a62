"""The venue: time and its deadlines, products and their contracts, trading states, nodes, money, hardware."""

from typing import Any

from schemas.vouchers import is_cash
from tests.oracle import auctions, blocks, changes, delivery, limits, nodes, vouchers
from tests.oracle.trading import expire
from tests.oracle.world import (
    AMOUNT_MAX,
    Thing,
    World,
    enter_state,
    gate_ms,
    live_of,
    name_at,
    need,
    start_of,
    terms_of,
)

DAY_S = 86_400
LISTING, GATE, DELIVERY, METERED, LIVENESS, FINAL, SCHEDULE, AUCTION_END, EXPIRY, SILENCE, VOUCHERS = range(11)

# -- time


def move_time(w: World, ts_ms: int, is_tick: bool) -> None:
    """Log time never goes back; what it passes happens by time, kind and id. Heartbeats are judged at ticks. [M-4]"""
    w.now = max(w.now, ts_ms)
    if is_tick:
        stale = [(name, node) for name, node in w.nodes.items() if node.alive and node.until <= w.now]
        w.deadlines |= {(LIVENESS, name): node.until for name, node in stale}
    while due := [(at, *key) for key, at in w.deadlines.items() if at is not None and at <= w.now]:
        _, kind, name = min(due)
        del w.deadlines[kind, name]
        ON_DEADLINE[kind](w, name)
    pull(w)
    w.bindings = {key: each for key, each in w.bindings.items() if each.until > w.now}


def close_gate(w: World, contract: str) -> None:
    """Orders expire, blocks die or move on, the contract locks or is over. [M-5]"""
    name, start = contract.rpartition("-")[0], start_of(contract)
    product = w.products[name]
    product.open.remove(start)
    if product.open:
        set_gate(w, product)
    in_book = [each for each in w.live.values() if each.contract == contract]
    for each in sorted(in_book, key=lambda each: each.id):
        expire(w, each, "gate_closed")
    for block in blocks.gate(w, name, start):
        if start < block.latest:
            blocks.narrow(w, block, start + product.newest.period_s, block.latest)
        else:
            expire(w, block, "gate_closed")
    known = w.contracts.get(contract)
    if known is None or not known.positions:
        w.contracts.pop(contract, None)
        tell_state(w, contract, "EXPIRED", 0)
        return
    known.state, known.last, known.indicated, known.recent = "LOCKED", None, None, []
    for each in known.positions:
        position = w.positions[each]
        position.waits = w.nodes[position.node].level == "T0"
    terms = terms_of(w, contract)
    w.deadlines[DELIVERY, contract] = start * 1000
    w.deadlines[METERED, contract] = (start + terms.period_s + terms.grace_s) * 1000
    tell_state(w, contract, "LOCKED", len(known.positions))


def tell_state(w: World, contract: str, state: str, positions: int) -> None:
    w.emit("contract_state_changed", contract=contract, state=state, positions=positions)


def start_delivery(w: World, contract: str) -> None:
    known = w.contracts[contract]
    if known.state != "VOID":
        known.state = "DELIVERING"
        tell_state(w, contract, "DELIVERING", len(known.positions))


def end_metering(w: World, contract: str) -> None:
    """The contract's positions can be settled. [D-15]"""
    known = w.contracts[contract]
    if not known.positions:
        del w.contracts[contract]
        return
    known.state = "METERED"
    tell_state(w, contract, "METERED", len(known.positions))


def expire_order(w: World, order_id: int) -> None:
    for each in changes.parts_under(w, order_id):
        expire(w, each, "expiry")


def pull(w: World) -> None:
    """What rests of a maker whose protection was reached goes, the oldest first."""
    while w.pulls:
        name, account = w.pulls.pop(0)
        guard = w.protections[name, account]
        quotes = [each for each in live_of(w, account) if each.contract and each.contract.startswith(f"{name}-")]
        changes.cancel_each(w, quotes, "protection")
        traded, guard.fills = sum(qty for _, qty in guard.fills), []
        fields = {"account": account, "product": name, "traded_qty": traded, "window_ms": guard.window_ms}
        w.emit("protection_triggered", **fields, canceled=len(quotes))


def set_protection(w: World, command: Any) -> None:
    need(command.account not in ("venue", "guarantee"), "not_permitted")
    need(command.product in w.products, "unknown_product")
    need((command.qty is None) == (command.window_ms is None), "bad_terms")
    w.protections.pop((command.product, command.account), None)
    if command.qty is not None:
        guard = Thing(qty=command.qty, window_ms=command.window_ms, fills=[])
        w.protections[command.product, command.account] = guard
    w.emit("protection_set", **command.model_dump(exclude={"type"}))


def cancel_all_after(w: World, command: Any) -> None:
    """A session's dead-man timer, later or sooner than before; zero disarms it. [M-23]"""
    key, due = (command.account, command.session), None
    if command.timeout_ms:
        sessions = [each for each in w.sessions if each[0] == command.account]
        need(key in sessions or len(sessions) < 64, "too_many_sessions")
        due = w.now + command.timeout_ms
        w.sessions.add(key)
    else:
        w.sessions.discard(key)
    w.deadlines[SILENCE, "|".join(key)] = due
    names = {"command_id": command.command_id, "account": command.account, "session": command.session}
    w.emit("cancel_timer_set", **names, due_ms=due)


def fall_silent(w: World, name: str) -> None:
    account, _, session = name.partition("|")
    w.sessions.discard((account, session))
    canceled = changes.cancel_each(w, live_of(w, account), "disconnect")
    w.emit("cancel_timer_fired", account=account, session=session, canceled=canceled)


# -- products


def define_product(w: World, command: Any) -> None:
    """Sets the terms of contracts listed from now on. [M-2]"""
    need(command.product == f"{command.grade}.{command.hub}.{command.tier}", "bad_terms")
    need(is_cash(command.currency), "not_cash")
    need(command.full_damage_permille < command.dead_band_permille, "bad_terms")
    product, period = w.products.get(command.product), command.period_s
    if product:
        fixed = ("currency", "period_s", "gate_lead_s", "lot")
        need(all(getattr(command, each) == getattr(product.newest, each) for each in fixed), "bad_terms")
    for other in w.products.values():
        if (other.newest.grade, other.newest.hub) == (command.grade, command.hub):
            need(other.newest.period_s == period, "bad_terms")
    is_new = product is None
    if is_new:
        fields = {"name": command.product, "versions": [], "open": [], "index": None, "index_start": -1}
        fields |= {"opens_ms": None, "newest": command, "state": "OPEN"}
        product = w.products[command.product] = Thing(**fields)
        product.listed_to = first_open(w, product) - period
        product.state = scheduled(product, w.now) or "OPEN"
        w.deadlines[LISTING, product.name] = next_boundary(w, product)
    product.versions.append((product.listed_to + period, command))
    product.newest = command
    if not command.trading.velocity_permille:
        limits.forget_prices(w, product.name)
    follow_schedule(w, product, w.now)
    w.emit("product_defined", terms=command)
    if is_new:
        fields = {"product": product.name, "state": product.state, "reason": "defined", "opens_ms": None}
        w.emit("product_state_changed", **fields)
    list_contracts(w, product)


def first_open(w: World, product: Thing) -> int:
    terms = product.newest
    return ((w.now + terms.gate_lead_s * 1000) // (terms.period_s * 1000) + 1) * terms.period_s


def next_boundary(w: World, product: Thing) -> int:
    period_ms = product.newest.period_s * 1000
    return (w.now // period_ms + 1) * period_ms


def set_gate(w: World, product: Thing) -> None:
    start = product.open[0]
    w.deadlines[GATE, name_at(product, start)] = gate_ms(product, start)


def list_contracts(w: World, product: Thing) -> None:
    """Lists what the horizon has come to reach. [M-3]"""
    terms = product.newest
    last = (w.now // (terms.period_s * 1000) + terms.horizon_periods) * terms.period_s
    first = max(product.listed_to + terms.period_s, first_open(w, product))
    if first <= last:
        had_none = not product.open
        product.open += range(first, last + 1, terms.period_s)
        product.listed_to = last
        if had_none:
            set_gate(w, product)
        fields = {"product": product.name, "period_s": terms.period_s, "first_start_s": first, "last_start_s": last}
        w.emit("contracts_listed", **fields)


def roll(w: World, name: str) -> None:
    list_contracts(w, w.products[name])
    w.deadlines[LISTING, name] = next_boundary(w, w.products[name])


# -- trading states


FOLLOWING = {
    "CLOSED": ("AUCTION", "OPEN", "HALTED"),
    "AUCTION": ("OPEN", "CLOSED", "CANCEL_ONLY", "HALTED"),
    "OPEN": ("AUCTION", "CLOSED", "CANCEL_ONLY", "HALTED"),
    "CANCEL_ONLY": ("AUCTION", "OPEN", "CLOSED", "HALTED"),
    "HALTED": ("AUCTION", "OPEN", "CLOSED", "CANCEL_ONLY"),
}


def may_follow(product: Thing, state: str) -> bool:
    """Whether a state may follow the product's. [M-46]"""
    return state == product.state or state in FOLLOWING[product.state]


def set_product_state(w: World, command: Any) -> None:
    need(command.opens_after_s is None or command.state == "AUCTION", "bad_terms")
    need(command.product is None or command.product in w.products, "unknown_product")
    names = [command.product] if command.product else sorted(w.products)
    names = [name for name in names if may_follow(w.products[name], command.state)]
    need(names or command.product is None, "wrong_state")
    for name in names:
        change_state(w, w.products[name], command.state, command.reason, command.opens_after_s)


def change_state(w: World, product: Thing, state: str, reason: str, opens_after_s: int | None = None) -> None:
    """Whatever leads to OPEN uncrosses the books first."""
    if state == "OPEN" and product.state != "OPEN":
        auctions.uncross_product(w, product.name)
    if state != "AUCTION":
        for known in auctions.open_contracts(w, product.name):
            known.indicated = None
    enter_state(w, product, state, reason, opens_after_s)


def end_auction(w: World, name: str) -> None:
    product = w.products[name]
    change_state(w, product, "OPEN", "auction_over")


def scheduled(product: Thing, now_ms: int) -> str | None:
    """The state that the day's schedule asks for; before its first entry yesterday's last."""
    entries = sorted(product.newest.trading.schedule, key=lambda each: each.at_s)
    passed = [each.state for each in entries if each.at_s <= now_ms // 1000 % DAY_S]
    return (passed or [each.state for each in entries] or [None])[-1]


def follow_schedule(w: World, product: Thing, after_ms: int) -> None:
    midnight = after_ms // 1000 // DAY_S * DAY_S
    times = [midnight + day * DAY_S + each.at_s for each in product.newest.trading.schedule for day in (0, 1)]
    later = [each * 1000 for each in times if each > after_ms // 1000]
    product.schedule_ms = w.deadlines[SCHEDULE, product.name] = min(later, default=None)


def apply_schedule(w: World, name: str) -> None:
    """A change of the day's schedule is due. [M-7]"""
    product = w.products[name]
    due = product.schedule_ms
    state = scheduled(product, due)
    if state != product.state and product.state != "HALTED" and may_follow(product, state):
        change_state(w, product, state, "schedule")
    follow_schedule(w, product, due)


# -- money from outside, and to it


def transfer(w: World, command: Any) -> None:
    """Money comes in or goes out, once for each id. [C-8] [C-10]"""
    need(is_cash(command.asset), "not_cash")
    need(command.transfer_id not in w.transfers, "transfer_exists")
    if command.type in ("deallocate", "allocate"):
        shard = command.to_shard if command.type == "deallocate" else command.from_shard
        need(shard != w.shard, "bad_terms")
    comes_in = command.type in ("credit", "allocate")
    account, asset, amount = command.account, command.asset, command.amount_micros
    if comes_in:
        need(w.supply[asset] + amount <= AMOUNT_MAX, "amount_overflow")
    else:
        w.need_money(account, asset, amount)
    delta = amount if comes_in else -amount
    w.transfers.add(command.transfer_id)
    w.supply[asset] += delta
    past = {"credit": "credited", "debit": "debited", "deallocate": "deallocated", "allocate": "allocated"}
    fields = command.model_dump(exclude={"type"})
    w.emit(past[command.type], **fields, postings=w.post((account, asset, delta, 0)))
    if comes_in:
        delivery.pay_claims(w, account, asset)


ON_DEADLINE = {
    LISTING: roll,
    GATE: close_gate,
    DELIVERY: start_delivery,
    METERED: end_metering,
    LIVENESS: lambda w, name: nodes.pull_asks(w, name, "stale_heartbeat", "stale_heartbeat"),
    FINAL: delivery.finalize,
    SCHEDULE: apply_schedule,
    AUCTION_END: end_auction,
    EXPIRY: expire_order,
    SILENCE: fall_silent,
    VOUCHERS: vouchers.lapse,
}
