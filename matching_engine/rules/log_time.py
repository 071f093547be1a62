"""How log time moves: every deadline it passes happens, in the order (time, kind, id), before the command applies."""

from heapq import heappush

from matching_engine.rules import (
    cancels,
    counts,
    deadlines,
    flexes,
    nodes,
    payouts,
    products,
    programmes,
    protection,
    rulesets,
    silence,
    trading_states,
)
from matching_engine.rules.market import Market
from matching_engine.rules.settling import finalize
from matching_engine.rules.store import start_of
from schemas.events import ContractState, ContractStateChanged


def move_time(market: Market, ts_ms: int, is_tick: bool) -> None:
    """Sets log time to max(previous, the record's) and lets everything due happen.

    Heartbeats are judged at ticks only, so that a new epoch can extend them before all asks of the venue are pulled.
    [M-4]
    """
    market.state.log_time_ms = max(market.state.log_time_ms, ts_ms)
    if is_tick:
        push_stale_nodes(market)
    while (deadline := market.store.next_due()) is not None:
        time_ms, kind, name = deadline
        market.reached_ms = time_ms if rulesets.keeps_moved_deadlines_in_order(market) else market.now_ms
        ON_DEADLINE[kind](market, name)
    protection.pull(market)
    market.store.forget_bindings()


def push_stale_nodes(market: Market) -> None:
    for name, node in market.state.nodes.items():
        if node.alive and node.until_ms <= market.now_ms:
            heappush(market.state.timers, (node.until_ms, deadlines.LIVENESS, name))


def close_gate(market: Market, contract: str) -> None:
    """The gate: orders expire, oldest first, blocks that begin here die or move on, the contract locks or is over.
    [M-5]
    """
    name = contract.rpartition("-")[0]
    start_s = start_of(contract)
    products.close_first_window(market, name)
    for order in sorted(cancels.orders_in(market, contract), key=lambda order: order.id):
        cancels.expire_order(market, order, "gate_closed")
    blocks = [block for _, block in sorted(market.state.blocks.items())]
    for block in blocks:
        if (block.product, block.start_s) == (name, start_s):
            (flexes.move_on if start_s < block.latest_s else cancels.expire_block)(market, block)
    known = market.state.contracts.get(contract)
    if known is None or not known.positions:
        market.store.forget_contract(contract)
        emit_contract_state(market, contract, "EXPIRED", 0)
        return
    known.state, known.last_micros, known.indicated, known.recent_trades = "LOCKED", None, None, []
    payouts.note_levels(market, known)
    terms = market.terms_of(contract)
    market.at(start_s * 1000, deadlines.DELIVERY, contract)
    market.at((start_s + terms.period_s + terms.grace_s) * 1000, deadlines.METERED, contract)
    emit_contract_state(market, contract, "LOCKED", len(known.positions))


def start_delivery(market: Market, contract: str) -> None:
    """Delivery begins."""
    known = market.state.contracts[contract]
    if known.state == "VOID":
        return
    known.state = "DELIVERING"
    emit_contract_state(market, contract, "DELIVERING", len(known.positions))


def end_metering(market: Market, contract: str) -> None:
    """Delivery and its grace are over: positions can be settled, their GPUs are needed no more. [D-15]"""
    known = market.state.contracts[contract]
    if not known.positions:
        del market.state.contracts[contract]
        return
    known.state = "METERED"
    for position_id in known.positions:
        position = market.state.positions[position_id]
        counts.count_sold(market.state.nodes[position.node], known.start_s, -position.qty)
    emit_contract_state(market, contract, "METERED", len(known.positions))


def expire(market: Market, order_id: int) -> None:
    """A GTD order's time is over, unless it ended before or got another time, or that of a capacity order's asks."""
    for order in cancels.live_parts(market, order_id):
        if order.parent_id == order_id or order.conditions.expires_ms <= market.reached_ms:
            cancels.expire_order(market, order, "expiry")


def emit_contract_state(market: Market, contract: str, state: ContractState, positions: int) -> None:
    market.emit(ContractStateChanged, contract=contract, state=state, positions=positions)


ON_DEADLINE = {
    deadlines.LISTING: products.roll_horizon,
    deadlines.GATE: close_gate,
    deadlines.DELIVERY: start_delivery,
    deadlines.METERED: end_metering,
    deadlines.LIVENESS: nodes.go_stale,
    deadlines.FINAL: finalize,
    deadlines.SCHEDULE: trading_states.apply_schedule,
    deadlines.AUCTION_END: trading_states.end_auction,
    deadlines.EXPIRY: expire,
    deadlines.SILENCE: silence.cancel_all,
    deadlines.VOUCHERS: programmes.lapse,
}
