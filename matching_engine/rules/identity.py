"""Clients' order ids: the same id with the same body is answered with the first result, with another it is refused."""

from collections.abc import Callable
from hashlib import sha256

from matching_engine.rules import cancels, products, throttle
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import RuleBroken, require
from matching_engine.rules.state import DIGEST_BYTES, Binding, Block, Order
from matching_engine.rules.store import start_of
from schemas.commands import Command
from schemas.events import OrderDuplicate
from schemas.ids import product_of
from schemas.orders import PlaceBlock, PlaceOrder, PostCapacity, ReplaceOrder, Resell

NewOrder = PlaceOrder | PlaceBlock | PostCapacity | Resell | ReplaceOrder


def once(market: Market, command: NewOrder, decide: Callable[[Market, NewOrder], int]) -> None:
    """Decides a new order, unless its client id is bound. Whatever comes out, accepted or refused, binds the id.
    [M-22]
    """
    body = body_digest(command)
    binding = market.state.bindings.get(command.account, {}).get(own_id(command))
    if binding is not None:
        answer_again(market, command, body, binding)
        return
    until_ms = last_gate_ms(market, command)
    try:
        order_id = paced(market, command, decide)
    except RuleBroken:
        bind(market, command, body, None, until_ms)
        raise
    bind(market, command, body, order_id, until_ms)


def paced(market: Market, command: NewOrder, decide: Callable[[Market, NewOrder], int]) -> int:
    """Decides an order that the account's throttle lets pass, and counts it if it is taken."""
    throttle.require_pace(market, command.account)
    product = product_name(market, command)
    order_id = decide(market, command)
    throttle.count_order(market, command.account, product)
    return order_id


def own_id(command: Command) -> str | None:
    """The client's id in a command; of a replace that for the command itself, not the order's."""
    return command.replace_id if isinstance(command, ReplaceOrder) else getattr(command, "client_order_id", None)


def product_name(market: Market, command: NewOrder) -> str:
    """The product that the command is about."""
    contract = contract_of(market, command)
    return command.product if contract is None else product_of(contract)


def body_digest(command: NewOrder) -> str:
    """Half a SHA-256 of the command's canonical bytes without its member `command_id`, which is correlation only."""
    member = f'"command_id":"{command.command_id}",'.encode()
    return sha256(command.canonical().replace(member, b"", 1)).hexdigest()[: 2 * DIGEST_BYTES]


def answer_again(market: Market, command: NewOrder, body: str, binding: Binding) -> None:
    if binding.body != body:
        raise RuleBroken("client_order_id_conflict", binding.order_id)
    market.emit(
        OrderDuplicate,
        command_id=command.command_id,
        account=command.account,
        client_order_id=own_id(command),
        order_id=binding.order_id,
        first_offset=binding.offset,
    )


def bind(market: Market, command: NewOrder, body: str, order_id: int | None, until_ms: int | None) -> None:
    """Keeps the answer until the gate of the order's last contract; rejects for unlisted contracts bind nothing."""
    if until_ms is None:
        return
    bindings = market.state.bindings.setdefault(command.account, {})
    bindings[own_id(command)] = Binding(body, market.offset, order_id, until_ms)
    market.store.expire_binding(until_ms, command.account, own_id(command))


def last_gate_ms(market: Market, command: NewOrder) -> int | None:
    """The gate of the order's last contract; None where that is not listed or its gate has closed."""
    contract = contract_of(market, command)
    product = market.state.products.get(product_name(market, command))
    if product is None:
        return None
    period_s = product.newest.period_s
    if contract is not None:
        start_s = start_of(contract)
    elif isinstance(command, PlaceBlock):
        latest_s = command.start_s if command.latest_s is None else command.latest_s
        start_s = latest_s + (command.periods - 1) * period_s
    elif isinstance(command, Resell):
        start_s = min(command.to_s // period_s * period_s - period_s, product.listed_to_s)
    else:
        start_s = command.to_s - period_s
    if start_s is None or not products.is_known_start(product, start_s) or not products.is_open(product, start_s):
        return None
    return products.gate_ms(product, start_s)


def contract_of(market: Market, command: NewOrder) -> str | None:
    """The one contract that the command is about; None where there are several."""
    if isinstance(command, ReplaceOrder):
        return replaceable(market, command).contract
    return command.contract if isinstance(command, PlaceOrder) else None


def replaceable(market: Market, command: ReplaceOrder) -> Order:
    """The resting order that is to be replaced: of one contract, and the account's own."""
    order, *others = cancels.named_parts(market, command)
    require(not others and not isinstance(order, Block) and order.kind == "limit", "not_replaceable")
    return order
