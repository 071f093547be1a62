"""What the demo's traders do over the public REST API, and how their orders end."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clients.actors import Actor
from clients.http import ApiError, pages, result_of

PRODUCT = "H100SXM80X8.CNE.F"
PRICE_CNY = "12.84"  # what an 8×H100 server rents for per GPU-hour in China (75,000 CNY a month)


@dataclass(frozen=True)
class Period:
    """One contract of a product that can still be traded, with its delivery's start and end and its gate."""

    contract: str
    start: datetime
    end: datetime
    gate: datetime


def open_periods(actor: Actor, product: str, gate_in_s: float) -> list[Period]:
    """Returns the open contracts of a product whose gate is at least so far away, earliest first."""
    now = datetime.now(UTC)
    rows = pages_of_contracts(actor, product)
    periods = [
        Period(row["contract"], *(datetime.fromisoformat(row[name]) for name in ("start", "end", "gate")))
        for row in rows
        if row["state"] == "OPEN"
    ]
    return sorted(
        (each for each in periods if (each.gate - now).total_seconds() >= gate_in_s), key=lambda each: each.start
    )


def pages_of_contracts(actor: Actor, product: str) -> Iterator[dict[str, Any]]:
    """Yields the contracts of a product as market data lists them."""
    params = {"product": product}
    while True:
        page = result_of(actor.market_data.get("/v1/contracts", params=params))
        yield from page["items"]
        if page.get("cursor") is None:
            return
        params["cursor"] = page["cursor"]


def place(actor: Actor, client_order_id: str, **form: Any) -> dict[str, Any]:
    """Places an order; returns the gateway's reply. Raises ApiError."""
    body = {"client_order_id": client_order_id} | form
    return result_of(actor.gateway.post("/v1/orders", json=body))


def refusal_of(actor: Actor, client_order_id: str, **form: Any) -> ApiError | None:
    """Places an order that should be refused; returns the refusal, None where it was taken."""
    try:
        place(actor, client_order_id, **form)
    except ApiError as refusal:
        return refusal
    return None


def cancel(actor: Actor, order_id: int) -> dict[str, Any]:
    """Cancels an order; returns it as it stands."""
    return result_of(actor.gateway.delete(f"/v1/orders/{order_id}"))


def orders_of(actor: Actor) -> list[dict[str, Any]]:
    """Returns every order of the account, newest first."""
    return list(pages(actor.gateway, "/v1/orders"))


def positions_of(actor: Actor) -> list[dict[str, Any]]:
    """Returns every position of the account, newest first."""
    return list(pages(actor.gateway, "/v1/positions"))


def book_of(actor: Actor, contract: str) -> dict[str, Any]:
    """Returns the public book of a contract."""
    return result_of(actor.market_data.get(f"/v1/book/{contract}"))


def describe(order: dict[str, Any]) -> str:
    """Puts an order into a line."""
    what = order["contract"] or f"{order['product']} × {order['periods']} periods"
    price = order["price"] or f"at most {order['max_cost']} in all"
    return f"{order['side']} {order['qty']} GPUs {what} at {price}: {order['status']}"
