"""The limit that a key has for the size of an order: one place that every command passes on its way to the engine."""

from dataclasses import dataclass
from typing import get_args

from schemas.money import cost_micros
from schemas.orders import (
    CancelAllAfter,
    CancelOrder,
    MassCancel,
    PlaceBatch,
    PlaceOrder,
    ReplaceOrder,
    RepriceCapacity,
    SetProtection,
    WithdrawCapacity,
)
from services.gateway import domain
from services.gateway.projections.history import History
from services.gateway.projections.records import Order
from services.kit.auth import Caller
from services.kit.http import ProblemError

COSTLESS = (CancelAllAfter, CancelOrder, MassCancel, SetProtection, WithdrawCapacity)
UNKNOWN = "the gateway does not know the order (yet), so the key's limit needs both `qty` and `price`"


@dataclass(frozen=True)
class Terms:
    """What decides what an order can cost."""

    qty: int
    price_micros: int
    product: str


class OrderLimits:
    """Judges what a command could cost or bring at most. Refuses nothing to a key without a limit."""

    def __init__(self, history: History):
        self._history = history

    def judged(self, caller: Caller, command: domain.TraderCommand) -> domain.TraderCommand:
        """Return the command as it may be sent. Raises `order_limit_exceeded`.

        A replace of a limited key says quantity and price: two that cross each other on their way cannot add up.
        """
        if caller.order_limit_micros is None:
            return command
        seen: dict[str, Terms] = {}
        if isinstance(command, PlaceBatch):
            members = tuple(self._judged(caller, member, seen) for member in command.members)
            return command.model_copy(update={"members": members})
        return self._judged(caller, command, seen)

    def _judged(
        self, caller: Caller, command: domain.Placing | domain.Changing, seen: dict[str, Terms]
    ) -> domain.Placing | domain.Changing:
        """Judge one command; `seen` are the orders that earlier members of its batch place, by their names."""
        match command:
            case ReplaceOrder():
                return self._replaced(caller, command, seen)
            case RepriceCapacity():
                order = self._named(command)
                if order is None:
                    raise _too_large("the gateway does not know the order (yet), so it cannot judge its size")
                self._check(caller, domain.repriced_notional_micros(command, order, self._terms(order.product)))
            case _ if isinstance(command, get_args(domain.Placing)):
                product = domain.product_in(command)
                self._check(caller, domain.notional_micros(command, self._terms(product)))
                if isinstance(command, PlaceOrder):
                    terms = Terms(command.qty, command.price_micros or 0, product)
                    seen.setdefault(command.client_order_id, terms)
            case _ if not isinstance(command, COSTLESS):
                raise TypeError(f"nobody says what a {command.type} costs")
        return command

    def _replaced(self, caller: Caller, command: ReplaceOrder, seen: dict[str, Terms]) -> ReplaceOrder:
        order, before = self._named(command), None
        if order is not None:
            before = Terms(order.qty, order.price_micros or 0, order.product)
        elif command.client_order_id is not None:
            before = seen.get(command.client_order_id)
        if before is None and None in (command.qty, command.price_micros):
            raise _too_large(UNKNOWN)
        qty = command.qty or before.qty
        price_micros = command.price_micros or before.price_micros
        period_s = self._period_s(before.product) if before else self._longest_period_s()
        self._check(caller, qty * cost_micros(price_micros, period_s))
        if before is None:
            return command
        for name in {command.client_order_id, command.replace_id} - {None}:
            seen[name] = Terms(qty, price_micros, before.product)
        return command.model_copy(update={"qty": qty, "price_micros": price_micros or None})

    def _named(self, command: ReplaceOrder | RepriceCapacity) -> Order | None:
        if command.order_id is not None:
            found = self._history.orders.get(command.order_id)
        else:
            found = self._history.order_of_client(command.account, command.client_order_id)
        return found if isinstance(found, Order) and found.account == command.account else None

    def _terms(self, product: str):
        return self._history.products.get(product)

    def _period_s(self, product: str) -> int:
        terms = self._terms(product)
        return terms.period_s if terms else self._longest_period_s()

    def _longest_period_s(self) -> int:
        return max((terms.period_s for terms in self._history.products.values()), default=3600)

    def _check(self, caller: Caller, notional_micros: int) -> None:
        if notional_micros > caller.order_limit_micros:
            raise _too_large("the order is larger than the key's limit")


def _too_large(detail: str) -> ProblemError:
    return ProblemError("order_limit_exceeded", detail)
