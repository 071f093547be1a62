"""How what is left of an order ends: cancelled, reduced or expired, its hold returned in the same event."""

from matching_engine.rules import counts, icebergs, resale
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import RuleBroken, require
from matching_engine.rules.state import Block, Order
from matching_engine.rules.store import start_of
from schemas.events import (
    AccountOrdersCanceled,
    CancelDone,
    CancelReason,
    ExpiryReason,
    OrderCanceled,
    OrderExpired,
    OrderReduced,
    Posting,
    WhyUnfilled,
)
from schemas.orders import CancelOrder, MassCancel, ReplaceOrder, RepriceCapacity, WithdrawCapacity
from schemas.venue import CancelAccountOrders

Naming = CancelOrder | ReplaceOrder | RepriceCapacity | WithdrawCapacity


def orders_in(market: Market, contract: str) -> list[Order]:
    """The resting orders of a contract."""
    return [*market.store.resting(contract, "buy"), *market.store.resting(contract, "sell")]


# -- by its owner


def cancel(market: Market, command: CancelOrder) -> None:
    """Cancels one order, block or capacity order of the account, named by our id or the client's. [M-20]"""
    canceled = named_parts(market, command)
    for each in canceled:
        cancel_any(market, each, "user")
    market.emit(CancelDone, command_id=command.command_id, account=command.account, canceled=len(canceled))


def withdraw_window(market: Market, command: WithdrawCapacity) -> None:
    """Cancels the asks of an order of many periods that deliver in a window; the others stand."""
    parts = named_parts(market, command)
    require(all(not isinstance(each, Block) and each.parent_id for each in parts), "not_replaceable")
    inside = [each for each in parts if command.from_s <= start_of(each.contract) < command.to_s]
    for each in inside:
        cancel_order(market, each, "user")
    market.emit(CancelDone, command_id=command.command_id, account=command.account, canceled=len(inside))


def named_parts(market: Market, command: Naming) -> list[Order | Block]:
    """What is live of the account under our id or the client's; refuses where that is nothing."""
    require((command.order_id is None) != (command.client_order_id is None), "bad_terms")
    order_id = command.order_id if command.order_id is not None else bound_order(market, command)
    live = live_parts(market, order_id)
    if not live:
        raise RuleBroken("order_closed" if order_id <= market.state.last_order_id else "unknown_order", order_id)
    if live[0].account != command.account:
        raise RuleBroken("not_the_owner", order_id)
    return live


def bound_order(market: Market, command: Naming) -> int:
    binding = market.state.bindings.get(command.account, {}).get(command.client_order_id)
    if binding is None or binding.order_id is None:
        raise RuleBroken("unknown_order")
    return binding.order_id


def live_parts(market: Market, order_id: int) -> list[Order | Block]:
    """What is live under an id: the order, the block, or the asks of the capacity order, oldest first."""
    state = market.state
    if order_id in state.orders:
        return [state.orders[order_id]]
    if order_id in state.blocks:
        return [state.blocks[order_id]]
    return market.store.parts_of(order_id)


def mass_cancel(market: Market, command: MassCancel) -> None:
    """Cancels every order of the account that fits all filters."""
    canceled = cancel_fitting(market, command, "mass")
    market.emit(CancelDone, command_id=command.command_id, account=command.account, canceled=canceled)


def cancel_for_venue(market: Market, command: CancelAccountOrders) -> None:
    """The same by the venue."""
    canceled = cancel_fitting(market, command, "admin")
    market.emit(AccountOrdersCanceled, account=command.account, reason=command.reason, canceled=canceled)


def cancel_fitting(market: Market, command: MassCancel | CancelAccountOrders, reason: CancelReason) -> int:
    fitting = [each for each in orders_of(market, command.account) if matches_filters(market, each, command)]
    for each in fitting:
        cancel_any(market, each, reason)
    return len(fitting)


def orders_of(market: Market, account: str) -> list[Order | Block]:
    """Everything live of an account, oldest first."""
    return sorted([*market.store.resting_of(account), *market.store.blocks_of(account)], key=lambda each: each.id)


def matches_filters(market: Market, each: Order | Block, command: MassCancel | CancelAccountOrders) -> bool:
    """Whether all filters agree. A block is a buy of no one contract, and touches the hours from its first to last."""
    if isinstance(each, Block):
        product, contract, side, first_s = each.product, None, "buy", each.start_s
        last_s = each.latest_s + (each.periods - 1) * market.state.products[product].newest.period_s
    else:
        product, contract, side = each.contract.rpartition("-")[0], each.contract, each.side
        first_s = last_s = start_of(contract)
    named = (command.product, product), (command.contract, contract), (command.side, side)
    in_range = (command.from_s is None or last_s >= command.from_s) and (command.to_s is None or first_s < command.to_s)
    return in_range and all(wanted in (None, has) for wanted, has in named)


def cancel_any(market: Market, each: Order | Block, reason: CancelReason) -> None:
    (cancel_block if isinstance(each, Block) else cancel_order)(market, each, reason)


# -- orders of an hour book


def cancel_order(market: Market, order: Order, reason: CancelReason, why: WhyUnfilled | None = None) -> None:
    """Takes what is left of an order away, whether it rests or is just being matched."""
    market.emit(
        OrderCanceled,
        **ended(market, order),
        price_micros=order.price_micros,
        qty_left=order.left,
        reason=reason,
        why_unfilled=why,
        postings=withdraw(market, order, order.left),
    )


def expire_order(market: Market, order: Order, reason: ExpiryReason) -> None:
    """The gate closed on the order, or its own time is over."""
    market.emit(
        OrderExpired,
        **ended(market, order),
        price_micros=order.price_micros,
        qty_left=order.left,
        reason=reason,
        postings=withdraw(market, order, order.left),
    )


def reduce_order(market: Market, order: Order, qty_off: int, reason: CancelReason) -> None:
    """Takes a part of an order away, or all of it; it keeps its id and its place, and was never asked for more."""
    if qty_off == order.left:
        cancel_order(market, order, reason)
        return
    market.emit(
        OrderReduced,
        **ended(market, order),
        price_micros=order.price_micros,
        qty_off=qty_off,
        qty_left=order.left - qty_off,
        reason=reason,
        postings=withdraw(market, order, qty_off),
    )
    order.qty -= qty_off
    icebergs.hide_excess(order)


def ended(market: Market, order: Order) -> dict:
    return {
        "order_id": order.id,
        "account": order.account,
        "client_order_id": order.client_order_id,
        "kind": order.kind,
        "contract": order.contract,
        "side": order.side,
    }


def withdraw(market: Market, order: Order, qty: int) -> tuple[Posting, ...]:
    """Gives the hold of `qty` GPUs back (with the last one all of it), and the node or the positions their GPUs."""
    known, terms = market.state.contracts[order.contract], market.terms_of(order.contract)
    released = order.hold_micros if qty == order.left else qty * order.hold_unit_micros
    order.hold_micros -= released
    if resale.is_resale(order):
        resale.release_backing(market, order, qty)
    elif order.node is not None:
        counts.commit(market.state.nodes[order.node], known.start_s, -counts.given_back(market, order, qty))
    if qty == order.left and order.id in market.state.orders:
        market.store.remove_order(order)
    order.left -= qty
    return market.entry(terms.currency).hold(order.account, -released).post()


# -- blocks


def cancel_block(market: Market, block: Block, reason: CancelReason, why: WhyUnfilled | None = None) -> None:
    """Takes what is left of a block away."""
    market.emit(
        OrderCanceled,
        **ended_block(block),
        qty_left=block.left,
        reason=reason,
        why_unfilled=why,
        postings=withdraw_block(market, block),
    )


def expire_block(market: Market, block: Block) -> None:
    """At its first hour's gate a block dies. [M-5]"""
    market.emit(
        OrderExpired,
        **ended_block(block),
        qty_left=block.left,
        reason="gate_closed",
        postings=withdraw_block(market, block),
    )


def ended_block(block: Block) -> dict:
    return {
        "order_id": block.id,
        "account": block.account,
        "client_order_id": block.client_order_id,
        "kind": "block",
        "contract": None,
        "side": "buy",
        "price_micros": block.limit_price_micros,
    }


def withdraw_block(market: Market, block: Block) -> tuple[Posting, ...]:
    released, block.hold_micros, block.left = block.hold_micros, 0, 0
    forget_block(market, block)
    currency = market.state.products[block.product].newest.currency
    return market.entry(currency).hold(block.account, -released).post()


def forget_block(market: Market, block: Block) -> None:
    """Removes a block that is over."""
    market.state.blocks.pop(block.id, None)
    pending = market.state.pending_blocks.get(block.product, [])
    if block.id in pending:
        pending.remove(block.id)
