"""Commands on orders: `order place`, `order block`, `order flex`, `order cancel`, `order list`."""

from itertools import islice
from typing import Literal

from cyclopts import App

from clients.cli.output import Refused, show
from clients.cli.session import Signer, columns, gateway
from clients.http import pages, result_of

LIST_COLUMNS = columns(
    "order_id", "client_order_id", "kind", "contract", "side", "qty", "price", "status", "reason", "filled_qty"
)
PLACED_COLUMNS = columns(
    "order_id", "client_order_id", "status", "reason", "side", "qty", "price", "filled_qty", "remaining_qty"
)


def place(
    contract: str,
    side: Literal["buy", "sell"],
    qty: int,
    *,
    price: str | None = None,
    max_cost: str | None = None,
    tif: Literal["GTG", "IOC", "FOK"] = "GTG",
    post_only: bool = False,
    node: str | None = None,
    client_order_id: str | None = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Place a limit order for QTY GPUs of CONTRACT, or with --max-cost and no --price a market order.

    Exits with 0 when the engine took it, with 2 when its answer is not known yet.
    """
    form = {
        "kind": "limit" if price is not None else "market",
        "contract": contract,
        "side": side,
        "qty": qty,
        "price": price,
        "max_cost": max_cost,
        "tif": tif,
        "post_only": post_only,
        "node": node,
        "client_order_id": client_order_id,
    }
    return send(form, signer, json)


def block(
    product: str,
    start: str,
    periods: int,
    qty: int,
    limit_price: str,
    *,
    min_qty: int | None = None,
    max_cost: str | None = None,
    tif: Literal["GTG", "IOC", "FOK"] = "GTG",
    client_order_id: str | None = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Bid for QTY GPUs of PRODUCT, each on one node over PERIODS periods from START (2026-11-22T13:00:00Z)."""
    form = {
        "kind": "block",
        "product": product,
        "start": start,
        "periods": periods,
        "qty": qty,
        "min_qty": min_qty,
        "limit_price": limit_price,
        "max_cost": max_cost,
        "tif": tif,
        "client_order_id": client_order_id,
    }
    return send(form, signer, json)


def flex(
    product: str,
    earliest: str,
    latest: str,
    periods: int,
    qty: int,
    limit_price: str,
    *,
    min_qty: int | None = None,
    max_cost: str | None = None,
    tif: Literal["GTG", "IOC", "FOK"] = "GTG",
    client_order_id: str | None = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Bid for a block that may start from EARLIEST to LATEST, wherever it is cheapest."""
    form = {
        "kind": "flex",
        "product": product,
        "earliest": earliest,
        "latest": latest,
        "periods": periods,
        "qty": qty,
        "min_qty": min_qty,
        "limit_price": limit_price,
        "max_cost": max_cost,
        "tif": tif,
        "client_order_id": client_order_id,
    }
    return send(form, signer, json)


def send(form: dict, signer: Signer | None, json: bool) -> int:
    """Posts the form and prints the answer."""
    with gateway(signer) as client:
        reply = result_of(client.post("/v1/orders", json=form))
    if reply.get("order_state") == "unknown":
        show(reply, json=json)
        return 2
    show(reply if json else PLACED_COLUMNS(reply["order"]), json=json)
    return 0


def cancel(
    order_id: int | None = None,
    *,
    client_order_id: str | None = None,
    all: bool = False,
    product: str | None = None,
    contract: str | None = None,
    side: Literal["buy", "sell"] | None = None,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Cancel one order by our id or by the client's, or with --all every order that fits the filters."""
    if [order_id is not None, client_order_id is not None, all].count(True) != 1:
        raise Refused("name one order, or say --all")
    with gateway(signer) as client:
        if all:
            filters = {"product": product, "contract": contract, "side": side}
            response = client.post("/v1/orders/cancel-all", json=filters)
        elif order_id is not None:
            response = client.delete(f"/v1/orders/{order_id}")
        else:
            response = client.delete("/v1/orders", params={"client_order_id": client_order_id})
        reply = result_of(response)
    show(reply if json else [LIST_COLUMNS(order) for order in reply.get("orders", ())], json=json)


def list_orders(
    *,
    status: Literal["open", "new", "partially_filled", "filled", "canceled", "expired"] | None = None,
    product: str | None = None,
    contract: str | None = None,
    parent_id: int | None = None,
    limit: int = 50,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """List the account's orders, newest first."""
    with gateway(signer) as client:
        filters = {"status": status, "product": product, "contract": contract, "parent_id": parent_id}
        orders = list(islice(pages(client, "/v1/orders", **filters), limit))
    show(orders if json else list(map(LIST_COLUMNS, orders)), json=json)


def add_to(app: App) -> None:
    orders = App(name="order", help="Place, cancel and list orders.")
    orders.command(place)
    orders.command(block)
    orders.command(flex)
    orders.command(cancel)
    orders.command(list_orders, name="list")
    app.command(orders)
