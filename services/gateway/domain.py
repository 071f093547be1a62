"""What is decided at the edge: from a form to the engine's command, who may send it, and how a refusal is worded."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from pydantic import ValidationError

from schemas.accounts import Scope
from schemas.base import Model
from schemas.complaints import complaint
from schemas.events import OrderRejected
from schemas.ids import AccountId, ClientOrderId, product_of
from schemas.money import BadDecimal, cost_micros, parse_micros
from schemas.orders import (
    CancelAllAfter,
    CancelOrder,
    MassCancel,
    PlaceBatch,
    PlaceBlock,
    PlaceOrder,
    PostCapacity,
    ReplaceOrder,
    RepriceCapacity,
    Resell,
    SetProtection,
    WithdrawCapacity,
)
from schemas.rest import (
    AnyOrderForm,
    BlockForm,
    CancelForm,
    CapacityForm,
    FlexForm,
    OrderForm,
    ReplaceForm,
    RepriceForm,
    ResellForm,
    WithdrawForm,
    unix_milliseconds,
    unix_seconds,
)
from schemas.venue import DefineProduct
from services.gateway.projections.records import Order

Placing = PlaceOrder | PlaceBlock | PostCapacity | Resell
Changing = CancelOrder | MassCancel | ReplaceOrder | RepriceCapacity | WithdrawCapacity
TraderCommand = Placing | Changing | CancelAllAfter | PlaceBatch | SetProtection
Command = TypeVar("Command", bound=Model)


class GatewayError(Exception):
    """The base of the gateway's errors."""


class BadForm(GatewayError):
    """A form whose fields are right one by one makes no command; `code` is the problem's."""

    def __init__(self, code: str, detail: str):
        super().__init__(detail)
        self.code, self.detail = code, detail


class NoAnswer(GatewayError):
    """The engine's decision did not come back in time; the command may have been carried out."""


class RecordRejected(GatewayError):
    """The engine could not take the record at all; nothing changed."""


class HistoryBehind(GatewayError):
    """The tables do not hold what the caller has seen already, because PostgreSQL is away or slow."""


def command_of(form: AnyOrderForm, account: AccountId, command_id: str, fallback_id: ClientOrderId) -> Placing:
    """Turn a form into the account's command, named by `fallback_id` where the client gave no id. Raises BadForm."""
    head = {"command_id": command_id, "account": account, "client_order_id": form.client_order_id or fallback_id}
    return _made(lambda: BUILDERS[type(form)](form, head))


def mass_cancel_of(form: CancelForm, account: AccountId, command_id: str) -> MassCancel:
    """Turn the filters of a mass cancel into the account's command. Raises BadForm."""
    filters = form.model_dump(exclude={"from_", "to"})
    return _made(
        lambda: MassCancel(
            command_id=command_id,
            account=account,
            **filters,
            from_s=None if form.from_ is None else unix_seconds(form.from_),
            to_s=None if form.to is None else unix_seconds(form.to),
        )
    )


def replace_of(form: ReplaceForm, named: dict, account: AccountId, command_id: str) -> ReplaceOrder:
    """Turn the new terms of the order that `named` names into the account's command. Raises BadForm."""
    return _made(
        lambda: ReplaceOrder(
            command_id=command_id,
            account=account,
            **named,
            replace_id=form.replace_id,
            qty=form.qty,
            price_micros=_micros(form.price),
            expires_ms=_milliseconds(form.expires),
        )
    )


def reprice_of(form: RepriceForm, account: AccountId, command_id: str) -> RepriceCapacity:
    """Turn other prices of a capacity order into the account's command. Raises BadForm."""
    named = {"order_id": form.order_id, "client_order_id": form.client_order_id}
    return _made(lambda: RepriceCapacity(command_id=command_id, account=account, **named, **_floor(form)))


def withdrawal_of(form: WithdrawForm, account: AccountId, command_id: str) -> WithdrawCapacity:
    """Turn the window to be withdrawn into the account's command. Raises BadForm."""
    named = {"order_id": form.order_id, "client_order_id": form.client_order_id}
    return _made(
        lambda: WithdrawCapacity(
            command_id=command_id, account=account, **named, from_s=unix_seconds(form.from_), to_s=unix_seconds(form.to)
        )
    )


def _made(build: Callable[[], Command]) -> Command:
    try:
        return build()
    except BadDecimal as error:
        raise BadForm("bad_decimal", f"{error} is no decimal number with at most six decimals") from error
    except ValidationError as error:
        raise BadForm("malformed_request", words_of(error)) from error
    except ValueError as error:
        raise BadForm("malformed_request", str(error)) from error


def scopes_for(form: AnyOrderForm) -> tuple[Scope, ...]:
    """Return the scopes of which one is needed to send this form: asks of a node are an operator's as well."""
    if isinstance(form, CapacityForm):
        return ("operate",)
    return ("trade", "operate") if isinstance(form, OrderForm) and form.node else ("trade",)


def notional_micros(command: Placing, terms: DefineProduct | None) -> int:
    """Return what an order could cost or bring at most, for the order-size limit of a key."""
    period_s = terms.period_s if terms else 3600
    match command:
        case PlaceOrder(kind="market"):
            return command.max_cost_micros or 0
        case PlaceOrder():
            return command.qty * cost_micros(command.price_micros or 0, period_s)
        case PlaceBlock():
            return command.qty * command.periods * cost_micros(command.limit_price_micros, period_s)
    periods = max(0, -(-(command.to_s - command.from_s) // period_s))
    if isinstance(command, Resell):
        return command.qty * periods * cost_micros(command.price_micros, period_s)
    price_micros = max(command.floor_curve_micros or (command.floor_price_micros or 0,))
    return command.gpus * periods * cost_micros(price_micros, period_s)


def repriced_notional_micros(command: RepriceCapacity, order: Order, terms: DefineProduct | None) -> int:
    """Return what the asks of a capacity order could bring at most at their new prices."""
    price_micros = max(command.floor_curve_micros or (command.floor_price_micros or 0,))
    return order.qty * order.asks_open * cost_micros(price_micros, terms.period_s if terms else 3600)


def product_in(command: Placing) -> str:
    """Return the product that an order is about."""
    return product_of(command.contract) if isinstance(command, PlaceOrder) else command.product


def words_of(error: ValidationError) -> str:
    """Say in one line what is wrong with which field."""
    return "; ".join(f"{_place_in(item['loc'])}{complaint(item)}" for item in error.errors(include_url=False)[:5])


def code_of(error: ValidationError) -> str:
    """Return `bad_decimal` where the first complaint is about a decimal string's form, else `malformed_request`."""
    first = error.errors(include_url=False)[0]
    wrong_number = first["type"] == "string_pattern_mismatch" and _is_number(first["input"])
    return "bad_decimal" if wrong_number else "malformed_request"


def rejection_words(code: str) -> str:
    """Say in plain words why the engine refused."""
    return REJECTION_WORDS.get(code, code.replace("_", " "))


def rejection_code(event: OrderRejected) -> tuple[str, int]:
    """Return the problem's code and status of an engine's refusal: of a stranger's order as of none."""
    if event.command in NAMING_COMMANDS and event.code == "not_the_owner":
        return "unknown_order", 404
    return event.code, {"client_order_id_conflict": 409, "unknown_order": 404}.get(event.code, 422)


def _place_order(form: OrderForm, head: dict) -> PlaceOrder:
    if form.kind == "market" and form.side == "sell":
        raise ValueError("side: a market order buys; a sell names its floor with `price`, and may be IOC")
    return PlaceOrder(
        **head,
        contract=form.contract,
        side=form.side,
        kind=form.kind,
        qty=form.qty,
        price_micros=_micros(form.price),
        max_cost_micros=_micros(form.max_cost),
        tif=_time_in_force(form),
        post_only=form.post_only,
        node=form.node,
        expires_ms=_milliseconds(form.expires),
        display_qty=form.display_qty,
        min_qty=form.min_qty,
        use_vouchers=form.use_vouchers,
        stp=form.stp,
    )


def _place_block(form: BlockForm | FlexForm, head: dict) -> PlaceBlock:
    flexible = isinstance(form, FlexForm)
    return PlaceBlock(
        **head,
        product=form.product,
        start_s=unix_seconds(form.earliest if flexible else form.start),
        periods=form.periods,
        qty=form.qty,
        min_qty=form.min_qty or form.qty,
        limit_price_micros=_micros(form.limit_price),
        max_cost_micros=_micros(form.max_cost),
        tif=_time_in_force(form),
        latest_s=unix_seconds(form.latest) if flexible else None,
        use_vouchers=form.use_vouchers,
        stp=form.stp,
    )


def _post_capacity(form: CapacityForm, head: dict) -> PostCapacity:
    return PostCapacity(
        **head,
        product=form.product,
        node=form.node,
        gpus=form.gpus,
        from_s=unix_seconds(form.from_),
        to_s=unix_seconds(form.to),
        **_floor(form),
        ttl_s=form.ttl_s,
        split=form.split,
    )


def _resell(form: ResellForm, head: dict) -> Resell:
    return Resell(
        **head,
        product=form.product,
        position_id=form.position_id,
        block_id=form.block_id,
        from_s=unix_seconds(form.from_),
        to_s=unix_seconds(form.to),
        qty=form.qty,
        price_micros=parse_micros(form.price),
    )


def _floor(form: CapacityForm | RepriceForm) -> dict:
    curve = tuple(map(parse_micros, form.floor_curve)) if form.floor_curve else None
    return {"floor_price_micros": _micros(form.floor_price), "floor_curve_micros": curve}


def _micros(text: str | None) -> int | None:
    return None if text is None else parse_micros(text)


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else unix_milliseconds(moment)


def _time_in_force(form: OrderForm | BlockForm | FlexForm) -> str:
    """Whoever draws on vouchers and says nothing gets the only thing there is: immediate, or canceled."""
    if form.use_vouchers and "tif" not in form.model_fields_set:
        return "IOC"
    return "GTG" if form.tif == "GTC" else form.tif


def _place_in(location: tuple) -> str:
    names = [str(part) for part in location if part not in ("limit", "market", "block", "flex", "capacity", "resell")]
    return f"{'.'.join(names)}: " if names else ""


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, str) and Decimal(value).is_finite()
    except ArithmeticError:
        return False


NAMING_COMMANDS = ("cancel_order", "replace_order", "reprice_capacity", "withdraw_capacity")
BUILDERS = {
    OrderForm: _place_order,
    BlockForm: _place_block,
    FlexForm: _place_block,
    CapacityForm: _post_capacity,
    ResellForm: _resell,
}
REJECTION_WORDS = {
    "unknown_product": "the venue has no such product",
    "unlisted_contract": "the contract is not listed: its delivery is too far away, or its start is not a period's",
    "gate_closed": "the contract's gate has closed; nothing can be traded in it any more",
    "product_closed": "the product is closed for trading",
    "product_halted": "trading in the product is halted; only cancels are taken",
    "product_cancel_only": "the product takes cancels only, and replaces for less",
    "not_in_auction": "the product is in auction: only orders that can wait for its end are taken",
    "price_band": "the price is too far from the reference: the last index, or else the contract's last trade",
    "order_too_large": "the order has more GPUs than the product allows in one",
    "notional_too_large": "the order could cost more than the product allows for one",
    "position_limit": "the account would have more GPUs in the contract than it may",
    "order_limit": "the account has as many live orders as it may",
    "throttled": "the account has sent too many orders for what it has traded; a new window begins soon",
    "off_tick": "the price is not a multiple of the product's tick",
    "off_lot": "the quantity is not a multiple of the product's lot",
    "bad_quantity": "the quantity is out of bounds",
    "bad_terms": "the terms do not go together, or one that is needed is missing",
    "unbacked_ask": "a sell names the node behind it, or sells positions that the account has and does not offer yet",
    "unknown_node": "no such node is enrolled",
    "not_the_owner": "the node belongs to another account",
    "node_not_alive": "the node's heartbeats are stale, so that it cannot stand behind an ask",
    "wrong_product_for_node": "the node's grade or hub is not the product's",
    "insufficient_capacity": "the node has not so many GPUs free in every period asked for",
    "insufficient_funds": "not enough money is available for what the order could cost, or for its bond",
    "amount_overflow": "the amounts are too large to be held",
    "bad_expiry": "the order's own end lies ahead, and not behind the contract's gate",
    "min_qty_not_filled": "less than `min_qty` could trade at once, so that nothing was done",
    "post_only_cross": "the order is post-only and would trade at these terms; it stands as it did",
    "not_replaceable": "only a limit order of one contract can be replaced",
    "too_many_sessions": "the account has as many dead-man timers as it may",
    "fok_not_filled": "it could not be filled whole at once, so that nothing was done",
    "client_order_id_conflict": "this client id names another order of the account",
    "unknown_order": "the account has no such order",
    "order_closed": "the order has ended already",
    "no_voucher": "the account has no voucher that may pay for this",
    "below_voucher_part": "vouchers paid more for the position than this price; it cannot be resold so low",
}
