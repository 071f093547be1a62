"""How what is left of an order ends: cancelled, reduced or expired, its hold returned in the same event."""

from matching_engine.reference import counts
from matching_engine.reference.market import Market
from matching_engine.reference.refusals import Refused, require
from matching_engine.reference.state import Block, Order
from schemas.events import CancelDone, CancelReason, OrderCanceled, OrderExpired, OrderReduced, Posting, WhyUnfilled
from schemas.orders import CancelOrder, MassCancel


def orders_in(market: Market, contract: str) -> list[Order]:
    """The resting orders of a contract."""
    return [*market.resting(contract, "buy"), *market.resting(contract, "sell")]


# -- by its owner


def cancel(market: Market, command: CancelOrder) -> None:
    """Cancels one order, block or capacity order of the account, named by our id or the client's."""
    require((command.order_id is None) != (command.client_order_id is None), "bad_terms")
    order_id = command.order_id if command.order_id is not None else bound_order(market, command)
    canceled = live_parts(market, order_id)
    if not canceled:
        raise Refused("order_closed" if order_id <= market.state.last_order_id else "unknown_order", order_id)
    if canceled[0].account != command.account:
        raise Refused("not_the_owner", order_id)
    for each in canceled:
        cancel_any(market, each, "user")
    market.emit(CancelDone, command_id=command.command_id, account=command.account, canceled=len(canceled))


def bound_order(market: Market, command: CancelOrder) -> int:
    binding = market.state.bindings.get(command.account, {}).get(command.client_order_id)
    if binding is None or binding.order_id is None:
        raise Refused("unknown_order")
    return binding.order_id


def live_parts(market: Market, order_id: int) -> list[Order | Block]:
    """What is live under an id: the order, the block, or the asks of the capacity order, oldest first."""
    state = market.state
    if order_id in state.orders:
        return [state.orders[order_id]]
    if order_id in state.blocks:
        return [state.blocks[order_id]]
    return [state.orders[each] for each in sorted(market.capacity_orders.get(order_id, ()))]


def mass_cancel(market: Market, command: MassCancel) -> None:
    """Cancels every order of the account that fits all filters, oldest first. A block is a buy of no one contract."""
    live = sorted([*market.state.orders.values(), *market.state.blocks.values()], key=lambda each: each.id)
    fitting = [each for each in live if each.account == command.account and fits(each, command)]
    for each in fitting:
        cancel_any(market, each, "mass")
    market.emit(CancelDone, command_id=command.command_id, account=command.account, canceled=len(fitting))


def fits(each: Order | Block, command: MassCancel) -> bool:
    contract = None if isinstance(each, Block) else each.contract
    product = contract.rpartition("-")[0] if contract is not None else each.product
    side = "buy" if isinstance(each, Block) else each.side
    return command.product in (None, product) and command.contract in (None, contract) and command.side in (None, side)


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


def expire_order(market: Market, order: Order) -> None:
    """The gate closed on the order."""
    market.emit(
        OrderExpired,
        **ended(market, order),
        price_micros=order.price_micros,
        qty_left=order.left,
        postings=withdraw(market, order, order.left),
    )


def reduce_order(market: Market, order: Order, qty_off: int, reason: CancelReason) -> None:
    """Takes a part of a resting ask away; it keeps its id and its place."""
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
    """Gives the hold of `qty` GPUs back (with the last one all of it), and the node its GPUs."""
    known, terms = market.state.contracts[order.contract], market.terms_of(order.contract)
    released = order.hold_micros if qty == order.left else qty * order.hold_unit_micros
    order.hold_micros -= released
    if order.node is not None:
        counts.commit(market.state.nodes[order.node], known.start_s, -qty)
    if qty == order.left and order.id in market.state.orders:
        market.unrest(order)
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
    """ "At its first hour's gate a block dies"."""
    market.emit(OrderExpired, **ended_block(block), qty_left=block.left, postings=withdraw_block(market, block))


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
